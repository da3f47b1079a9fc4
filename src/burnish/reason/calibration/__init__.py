"""Text-bias calibration at test time: what the image changes in the next token's logits counts more than once.

``settings`` what may be set, ``logits`` the maths, ``branches`` and ``decoding`` generation with and without the image
in step, ``answering`` questions in batches, ``text_bias`` how much a model answers without looking, ``gamma_search``
the strength.
Source: "Boosting MLLM Reasoning with Text-Debiased Hint-GRPO" (ICCV 2025), section on text-bias calibration.
"""
