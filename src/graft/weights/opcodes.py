"""Look at a pickle without running it: what it would call, and whether all of that is harmless.

torch's own restricted reader has been got around before (CVE-2025-32434, CVE-2026-24747), so a file
is let through to it only if every instruction and every name in it is one that tensors, their
storages and dtypes and ordered dictionaries need. Nothing is loaded to find that out.
"""

from __future__ import annotations

import pickletools
from typing import IO

STORAGES = ("Double", "Float", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
DTYPES = (
    *("float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "bool"),
    *("int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"),
)
NAMES = frozenset(
    {
        "collections.OrderedDict",
        "torch.Size",
        "torch.storage.UntypedStorage",
        "torch._utils._rebuild_tensor",
        "torch._utils._rebuild_tensor_v2",
        "torch._utils._rebuild_parameter",
        *(f"torch.{kind}Storage" for kind in STORAGES),
        *(f"torch.{dtype}" for dtype in DTYPES),
    }
)
"""Everything that a pickle of a state dict may name."""
INSTRUCTIONS = frozenset(
    {
        *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BUILD", "BINPERSID"),
        *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_LIST", "APPEND", "APPENDS"),
        *("EMPTY_DICT", "SETITEM", "SETITEMS", "NONE", "NEWTRUE", "NEWFALSE"),
        *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINSTRING"),
        *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
    }
)
"""Everything that it may do."""
MOST_INSTRUCTIONS = 20_000_000


def fault_of(file: IO[bytes]) -> str | None:
    """Return what in the pickle at a file's position is not allowed, or None; stop behind it.

    Args:
        file: at the first byte of a pickle. It is left behind the pickle's last.
    """
    try:
        for n, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if instruction.name not in INSTRUCTIONS:
                return f"has the instruction {instruction.name}, which no state dict needs"
            if instruction.name == "GLOBAL":
                name = ".".join(str(argument).split(" "))
                if name not in NAMES:
                    return f"names `{name}`, which no state dict needs"
            if n > MOST_INSTRUCTIONS:
                return f"has more than {MOST_INSTRUCTIONS:,} instructions"
    except (ValueError, IndexError, MemoryError, OverflowError) as error:
        return f"is damaged ({type(error).__name__})"
    return None
