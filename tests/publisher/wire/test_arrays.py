from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from losswatch import arrays


@given(st.lists(st.floats() | st.none()))
def test_a_list_keeps_null_and_nan_apart(values: list[float | None]) -> None:
    array = arrays.floats(values)
    assert arrays.reported(array).tolist() == [value is not None for value in values]
    assert repr(arrays.to_list(array)) == repr(values)


def test_not_reported_survives_arithmetic_free_copies() -> None:
    array = np.concatenate([arrays.floats([1.0, None]), arrays.floats([None])])[::-1].copy()
    assert arrays.reported(array).tolist() == [False, False, True]


@given(
    npst.arrays(
        st.sampled_from([np.dtype(d) for d in sorted(arrays.DTYPES)]), npst.array_shapes(min_dims=1, max_dims=2)
    )
)
def test_a_buffer_of_any_dtype_holds_the_same_numbers(
    values: np.ndarray[tuple[int, ...], np.dtype[np.float64]],
) -> None:
    read = arrays.floats(arrays.to_buffer(values), ndim=values.ndim)
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, values.astype(np.float64))


def test_a_buffer_is_little_endian_and_in_rows_whatever_the_array_was() -> None:
    big = np.array([[1, 2], [3, 4]], dtype=">i4").T
    assert arrays.to_buffer(big) == {"d": "<i4", "s": [2, 2], "b": np.array([1, 3, 2, 4], dtype="<i4").tobytes()}


def test_numpy_scalars_count_as_numbers() -> None:
    assert arrays.floats([np.float32(0.5), np.int64(2), 1]).tolist() == [0.5, 2.0, 1.0]
    assert arrays.ints([np.int32(2), 1]).tolist() == [2, 1]


def test_the_input_is_not_changed() -> None:
    values = [1.0, None, "NaN"]
    arrays.floats(values)
    assert values == [1.0, None, "NaN"]


@pytest.mark.parametrize("value", [None, 1.0, "NaN", {1.0}, object(), np.array(["a"]), np.array(1.0), [np.bool_(True)]])
def test_what_is_no_array_of_numbers_is_a_value_error(value: object) -> None:
    for ndim in (1, 2):
        with pytest.raises(ValueError, match="expected"):
            arrays.floats(value, ndim)
    with pytest.raises(ValueError, match="expected"):
        arrays.ints(value)
