"""Feather files (Arrow's file format), by pyarrow; such as Argoverse 2 has. n points of one scan."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from also_selfsup.data.formats import ScanError
from also_selfsup.data.readers.table import DAMAGED, Table, check_count, named, read_small
from also_selfsup.settings.names import MissingLibraryError

MOST_BATCHES = 10_000


def read_feather(path: Path) -> Table:
    """Read a `.feather` file; columns that are no numbers are left out, missing values become NaN.

    Raises:
        ScanError: The file is missing or not such a file.
        MissingLibraryError: pyarrow is not installed.
    """
    data = read_small(path)
    arrow = _library(path)
    try:
        with arrow.ipc.open_file(arrow.BufferReader(data)) as reader:
            if reader.num_record_batches > MOST_BATCHES:
                raise ScanError(path, f"{reader.num_record_batches} batches are no scan", DAMAGED)
            batches = [reader.get_batch(number) for number in range(reader.num_record_batches)]
            table = arrow.Table.from_batches(batches, schema=reader.schema)
            check_count(path, table.num_rows)
            table.validate(full=True)
            return named({field.name: _numbers(table, field.name) for field in _numeric(arrow, table)})
    except (arrow.ArrowException, OSError, MemoryError) as error:
        raise ScanError(path, f"pyarrow cannot read it ({error})", DAMAGED) from None


def _numeric(arrow: Any, table: Any) -> list[Any]:
    kinds = arrow.types
    return [field for field in table.schema if kinds.is_floating(field.type) or kinds.is_integer(field.type)]


def _numbers(table: Any, name: str) -> NDArray[Any]:
    values: NDArray[Any] = table.column(name).to_numpy()
    return np.ascontiguousarray(values)


def _library(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingLibraryError(
            f"{path}: Feather files need pyarrow ({error}): pip install 'also-selfsup[formats]'."
        ) from None
    return pyarrow
