"""The mathematics of losswatch: tensors in, readings and verdicts out."""
