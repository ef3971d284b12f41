/* One list of everything that can go wrong in the core: code, name, text.
 * Python reads names and texts from here; a test walks the list. Codes are never reused. */
#ifndef SP_STATUS_H
#define SP_STATUS_H

#define SP_STATUS_LIST(X)                                                                              \
    X(0, SP_OK, "done")                                                                                \
    X(-1, SP_E_ARGUMENT, "an argument is outside what the function takes")                             \
    X(-2, SP_E_MEMORY, "out of memory")                                                                \
    X(-3, SP_E_BOUNDS, "an index or a size is outside its range")                                      \
    X(-4, SP_E_ROOM, "the given buffer is too small")                                                  \
    X(-5, SP_E_ENCODING, "the text or frame is not in its one canonical encoding")                     \
    X(-6, SP_E_MISMATCH, "a hash, root or sequence is not the expected one")                           \
    X(-7, SP_E_ALGORITHM, "unknown digest algorithm")                                                  \
    X(-8, SP_E_SYSTEM, "a system call failed; errno says which way")                                   \
    X(-9, SP_E_LOCKED, "another process holds the log directory")                                      \
    X(-10, SP_E_FULL, "no space for another segment; nothing was written")                             \
    X(-11, SP_E_FAILED, "a write or sync of the log failed; the journal is latched and signs no more") \
    X(-12, SP_E_BUSY, "as much is under way as may be at a time")                                      \
    X(-13, SP_E_EMPTY, "nothing is finished yet")                                                      \
    X(-14, SP_E_END, "there is no such entry, or no further one")                                      \
    X(-15, SP_E_CORRUPT, "a checksum, header or chain value is wrong")                                 \
    X(-16, SP_E_VERSION, "written by a newer version of the format")                                   \
    X(-17, SP_E_FILESYSTEM, "this file system does not keep the room that was allocated; use pwrite")  \
    X(-18, SP_E_MODULE, "the PKCS#11 module cannot be loaded")                                         \
    X(-19, SP_E_FORKED, "the PKCS#11 module was opened by a parent process")                           \
    X(-20, SP_E_TOKEN, "the token answered with an error")                                             \
    X(-21, SP_E_PIN_REJECTED, "this PIN was rejected before; not tried again")                         \
    X(-22, SP_E_PIN_FILE, "the PIN cannot be read")                                                    \
    X(-23, SP_E_TOKEN_LOCKED, "the token says that its PIN is locked or that one try is left")         \
    X(-24, SP_E_PIN_LINES, "the PIN's file holds more than one line, or a carriage return")

enum sp_status {
#define SP_STATUS_ENUM(code, name, text) name = (code),
    SP_STATUS_LIST(SP_STATUS_ENUM)
#undef SP_STATUS_ENUM
};

#endif
