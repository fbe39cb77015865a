"""A SmolVLM of 1 M random weights as a local folder, so that LeRobot's SmolVLA trains without a network.

Same architecture and file names as the published checkpoints, a byte-level tokenizer of its own, no weights: LeRobot
draws them. What it learns is worth nothing; that it trains shows that a dataset fits the real one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

# The tokens that SmolVLM's processor looks for by name.
SPECIAL = ("<|endoftext|>", "<fake_token_around_image>", "<image>", "<end_of_utterance>", "<global-img>", "<video>")
IMAGE_SIZE, PATCH, SHRINK = 64, 16, 2  # one picture is (64 / 16 / 2)² = 4 tokens


def write_tiny_vlm(folder: Path, instructions: Iterable[str]) -> None:
    """Write config, tokenizer and processor files of the tiny model into `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(instructions, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))

    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL}
    side = {"longest_edge": IMAGE_SIZE}
    picture = {
        "do_convert_rgb": True,
        "do_image_splitting": False,
        "do_normalize": True,
        "do_pad": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "max_image_size": side,
        "size": side,
        "processor_class": "SmolVLMProcessor",
    }
    files = {
        "config.json": {
            "architectures": ["SmolVLMForConditionalGeneration"],
            "model_type": "smolvlm",
            "image_token_id": ids["<image>"],
            "pad_token_id": ids["<|endoftext|>"],
            "scale_factor": SHRINK,
            "text_config": {
                "model_type": "llama",
                "hidden_size": 96,
                "intermediate_size": 192,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 24,
                "vocab_size": tokenizer.get_vocab_size(),
                "pad_token_id": ids["<|endoftext|>"],
                "bos_token_id": ids["<|endoftext|>"],
                "eos_token_id": ids["<end_of_utterance>"],
            },
            "vision_config": {
                "model_type": "smolvlm_vision",
                "hidden_size": 96,
                "intermediate_size": 192,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "image_size": IMAGE_SIZE,
                "patch_size": PATCH,
            },
        },
        "preprocessor_config.json": {**picture, "image_processor_type": "SmolVLMImageProcessor"},
        "video_preprocessor_config.json": {
            **picture,
            "video_processor_type": "SmolVLMVideoProcessor",
            "video_sampling": {"fps": 1, "max_frames": 4, "video_size": side},
        },
        "processor_config.json": {
            "processor_class": "SmolVLMProcessor",
            "image_seq_len": (IMAGE_SIZE // PATCH // SHRINK) ** 2,
        },
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "processor_class": "SmolVLMProcessor",
            "bos_token": SPECIAL[0],
            "pad_token": SPECIAL[0],
            "unk_token": SPECIAL[0],
            "eos_token": "<end_of_utterance>",
            "model_max_length": 512,
            "extra_special_tokens": {
                "image_token": "<image>",
                "fake_image_token": "<fake_token_around_image>",
                "global_image_token": "<global-img>",
                "video_token": "<video>",
                "end_of_utterance_token": "<end_of_utterance>",
            },
        },
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=2) + "\n")
