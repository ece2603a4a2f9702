"""Tiny models of transformers with random weights, in the layout of real ones."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessorPil,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    PreTrainedTokenizerFast,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

_SPECIAL = ("<pad>", "<s>", "</s>", "<unk>", "<image>")
_IDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def write_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    letters = [*_SPECIAL, *(chr(code) for code in range(33, 127)), "Ġ"]
    content = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, [], unk_token="<unk>"))
    content.pre_tokenizer, content.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=content, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def write_image_to_text_model(folder: Path) -> Path:
    tokenizer = write_tokenizer(folder)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(0)
    Blip2ForConditionalGeneration(
        Blip2Config(
            vision_config={**small, "intermediate_size": 16, "image_size": 32, "patch_size": 16},
            qformer_config={**small, "intermediate_size": 16, "encoder_hidden_size": 16, "vocab_size": 100},
            text_config=OPTConfig(
                **small, **_IDS, vocab_size=100, ffn_dim=16, word_embed_proj_dim=16, max_position_embeddings=200
            ),
            num_query_tokens=4,
            image_text_hidden_size=16,
            image_token_index=4,
        )
    ).save_pretrained(folder)
    Blip2Processor(
        BlipImageProcessorPil(size={"height": 32, "width": 32}), tokenizer, num_query_tokens=4
    ).save_pretrained(folder)
    return folder


def write_audio_to_text_model(folder: Path) -> Path:
    write_tokenizer(folder)
    torch.manual_seed(0)
    WhisperForConditionalGeneration(
        WhisperConfig(
            **_IDS,
            vocab_size=100,
            d_model=16,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=16,
            decoder_ffn_dim=16,
            max_target_positions=100,
            decoder_start_token_id=1,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    ).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80).save_pretrained(folder)
    return folder


def write_language_model(folder: Path) -> Path:
    write_tokenizer(folder)
    torch.manual_seed(0)
    LlamaForCausalLM(
        LlamaConfig(
            **_IDS,
            vocab_size=100,
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            num_key_value_heads=2,
        )
    ).save_pretrained(folder)
    return folder
