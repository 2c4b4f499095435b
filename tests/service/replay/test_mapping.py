from __future__ import annotations

import pytest

from service.replay.mapping import Namer, Options, Place


def placed(*columns: str, options: Options | None = None) -> dict[str, str]:
    """What each column of a log of no framework is, in a word or three."""
    namer = Namer((), columns, options or Options())
    return {column: words(namer.place(column)) for column in columns}


def words(place: Place) -> str:
    return place.role if place.role in ("left out", "at") else f"{place.phase} {place.role} {place.name}"


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("loss", "train total total"),
        ("Train Loss", "train total total"),
        ("train/total_loss", "train total total"),
        ("val_loss", "val total total"),
        ("validation.loss", "val total total"),
        ("loss_val", "val total total"),
        ("valLoss", "val total total"),
        ("test loss", "test total total"),
        ("total_val_loss", "val total total"),
        ("mean_loss", "train total total"),
        ("train_loss_step", "train total total"),
        ("loss_cls", "train component loss_cls"),
        ("decode.loss_ce", "train component decode.loss_ce"),
        ("Gen Loss", "train component Gen Loss"),
        ("losses/kl", "train component losses/kl"),
        ("l1_loss/cycled_B", "train component l1_loss/cycled_B"),
        ("val/box_loss", "val component box_loss"),
        ("dloss", "train component dloss"),
        ("size_loss", "train component size_loss"),
        ("prediction_loss", "train component prediction_loss"),
        ("loss_scale", "train metric loss_scale"),
        ("best_val_loss", "val metric best_loss"),
        ("gloss", "train component gloss"),
        ("glossary", "train metric glossary"),
        ("accuracy", "train metric accuracy"),
        ("eval_rouge-1", "val metric rouge-1"),
        ("std_dev", "train metric std_dev"),
        ("valid_action", "train metric valid_action"),
        ("value_loss", "train component value_loss"),
        ("lr", "train metric learning_rate"),
        ("train_lr", "train metric learning_rate"),
        ("lr-AdamW/pg1", "train metric lr-AdamW/pg1"),
        ("grad_norm", "train metric grad_norm"),
        ("_timestamp", "at"),
        *(
            (name, "left out")
            for name in ("epoch", "time", "eta_seconds", "samples_per_second", "n_updates", "GPU mem")
        ),
        *((name, "left out") for name in ("eval_runtime", "time/fps", "batch_size", "num_tokens", "Unnamed: 0")),
    ],
)
def test_a_name_by_itself(column: str, expected: str) -> None:
    assert placed(column, "other_loss", "third_loss")[column] == expected


def test_the_best_name_of_a_total_wins_wherever_it_stands() -> None:
    found = placed("loss", "cls_loss", "total_loss")
    assert found == {
        "loss": "train metric loss",
        "cls_loss": "train component cls_loss",
        "total_loss": "train total total",
    }


def test_each_phase_has_a_total_of_its_own() -> None:
    found = placed("loss", "val_loss", "test_loss")
    assert list(found.values()) == ["train total total", "val total total", "test total total"]


def test_the_only_loss_of_a_log_is_its_total() -> None:
    assert placed("nll_loss", "val_nll_loss", "acc")["val_nll_loss"] == "val total total"
    assert placed("g_loss", "d_loss")["g_loss"] == "train component g_loss"


def test_of_step_and_epoch_the_step_is_watched() -> None:
    found = placed("train_loss_step", "train_loss_epoch", "val_acc_epoch")
    assert found["train_loss_epoch"] == "left out"
    assert found["val_acc_epoch"] == "val metric acc"


def test_valid_is_a_phase_where_training_has_the_same() -> None:
    assert placed("valid_loss", "valid_acc")["valid_acc"] == "val metric acc"
    assert placed("train_f1", "valid_f1")["valid_f1"] == "val metric f1"


def test_two_columns_of_one_name_both_stay() -> None:
    assert placed("lr", "learning_rate") == {
        "lr": "train metric learning_rate",
        "learning_rate": "train metric learning_rate (2)",
    }


def test_what_the_user_says_wins() -> None:
    options = Options(total="kl", components={"main": "loss"}, metrics={"x": ("b_loss", None)})
    found = placed("kl", "loss", "a_loss", "b_loss", "val_loss", options=options)
    assert found == {
        "kl": "train total total",
        "loss": "train component main",
        "a_loss": "train metric a_loss",
        "b_loss": "train metric x",
        "val_loss": "val total total",
    }


def test_a_name_that_is_too_long_is_cut_and_stays_one_of_its_own() -> None:
    long = placed("a" * 500, "a" * 501)
    assert len(set(long.values())) == 2
    assert all(len(place) <= len("train metric ") + 200 for place in long.values())


def test_no_more_series_than_a_record_may_hold() -> None:
    found = placed(*(f"m{at}" for at in range(1100)))
    assert sum(place != "left out" for place in found.values()) == 1024


def test_directions_are_said_or_told_by_the_name() -> None:
    namer = Namer((), ["acc", "q", "r", "z"], Options(metrics={"quality": ("q", "lower"), "reward": ("r", None)}))
    assert namer.directions() == {"acc": "higher", "quality": "lower", "reward": "higher"}
