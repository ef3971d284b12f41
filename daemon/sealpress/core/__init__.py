"""A thin skin over the C core: the only package that imports the extension `_native`.

Each module covers one noun of `csrc/sp_api.h`. Bytes go in and out; every status becomes a `CoreError`.
"""
