"""The cases of the demo: their jobs, and what the service must and must not find in each."""

from __future__ import annotations

from typing import Final

from service.story import Case, Column, Part

COLLAPSING: Final = Part(
    "tta-collapsing",
    "diversity weight 0.1",
    ("--diversity-weight", "0.1"),
    must_fire=frozenset(
        {
            "class_never_predicted",
            "component_conflict",
            "diversity_decline",
            "diversity_collapse",
            "loss_metric_decoupling",
        }
    ),
    # a weight of 0.1 leaves the diversity less than 1 % of the total; accuracy falls fast for a while
    may_fire=frozenset({"component_dominates", "spike"}),
)
HEALTHY: Final = Part("tta-healthy", "diversity weight 5", ("--diversity-weight", "5"), must_fire=frozenset())
ADVISED: Final = Part(
    "tta-advised",
    "0.1, then as advised",
    ("--diversity-weight", "0.1", "--follow-advice"),
    must_fire=frozenset({"diversity_decline"}),
    # until the advice is followed; the conflict only if it comes late on a busy machine
    may_fire=frozenset({"component_dominates", "component_conflict", "loss_metric_decoupling", "spike"}),
)
CASES: Final = (
    Case(
        "a",
        "a classifier of handwritten digits adapts itself to tilted, darker, noisy ones",
        "test_time_adaptation.py",
        (COLLAPSING, HEALTHY),
        (
            Column("total", "total"),
            Column("class_entropy", "class entropy", ".2f"),
            Column("accuracy", "accuracy", ".1%"),
            Column("weight", "diversity weight", ".2f"),
        ),
    ),
    Case(
        "b",
        "a network of four tasks, whose test loop adds its losses up in its own way",
        "uncertainty_weighting.py",
        (
            Part("uw-averaged", "the test takes the mean", (), must_fire=frozenset({"aggregation_mismatch"})),
            Part("uw-alike", "the test calls the objective", ("--test-total", "alike"), must_fire=frozenset()),
        ),
        (Column("val", "val total"), Column("test", "test total"), Column("accuracy", "accuracy", ".1%")),
    ),
    Case(
        "c",
        "a contrastive model that puts everything in one place, hidden by its total",
        "contrastive_collapse.py",
        (
            Part(
                "cl-triplet",
                "hardest triplets at a high rate",
                ("--loss", "triplet"),
                must_fire=frozenset(
                    {"component_stagnates", "component_dominates", "expectation_missed", "representation_collapse"}
                ),
                may_fire=frozenset({"component_inert", "plateau"}),
            ),
            Part("cl-prototypes", "InfoNCE of prototypes", ("--loss", "prototypes"), must_fire=frozenset()),
        ),
        (Column("total", "total"), Column("cosine", "mean cosine", ".2f"), Column("neighbours", "neighbours", ".1%")),
    ),
    Case(
        "d",
        "a regressor whose last checkpoint is better on average and worse on the severe cases",
        "worse_where_it_matters.py",
        (
            Part(
                "ds-annealed",
                "severe cases count less and less",
                ("--recipe", "annealed"),
                must_fire=frozenset({"slice_divergence", "sparse_coverage", "weak_proxy"}),
            ),
            Part("ds-kept", "severe cases count six times", ("--recipe", "kept"), must_fire=frozenset()),
        ),
        (Column("mae", "error"), Column("severe", "severe"), Column("heavy", "heavy")),
    ),
    Case(
        "e",
        "an anomaly classifier that is validated with another label map than it was trained with",
        "label_maps.py",
        (
            Part(
                "an-own-map",
                "each part has its own map",
                ("--label-map", "own"),
                must_fire=frozenset({"class_never_predicted", "label_space_mismatch", "overfitting"}),
            ),
            Part("an-shared-map", "one map, weighted classes", ("--label-map", "shared"), must_fire=frozenset()),
        ),
        (Column("total", "total"), Column("val", "val total"), Column("val_accuracy", "val accuracy", ".1%")),
    ),
)
"""In the order in which they are played."""
