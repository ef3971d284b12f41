"""What mypy knows of the extension: cffi builds both objects from csrc/sp_api.h at run time.

Only this package imports it; its modules give every call a type of their own.
"""

from typing import Any

ffi: Any
lib: Any
