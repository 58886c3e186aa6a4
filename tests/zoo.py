"""Tiny random networks of every family that graft adapts: the ground of the contract tests.

Each specimen is small enough to be built anew in every test, and keeps what makes its family
awkward for a cut: relative position biases handed from block to block, one block called many
times, several chains, batch norm, ragged rows, in-place activations.

Freshly initialised blocks nearly are the identity (weights of std 0.02, layer scales of 1e-6,
zero biases) or, with batch norm in eval mode, let the signal die, so that a test which drops one
would still pass. `enliven` therefore gives every parameter noise of its natural size, and
`settle` gives batch norm running statistics like those of a trained network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

VOCABULARY = 64
FIRST_WORD = 4  # smaller ids are padding and marks in every family below
BOS, EOS = 2, 3
WHISPER_FRAMES = 32

# What the libraries themselves warn of, for `pytest.mark.filterwarnings`.
WARNINGS = (
    # WavLM gives its padding as bool and its position bias as float.
    "ignore:Support for mismatched key_padding_mask and attn_mask:UserWarning",
)
CONV_KERNELS, CONV_STRIDES = (10, 3), (5, 2)

Inputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Specimen:
    """Describe one network and how to feed, cut and read it.

    Args:
        name: its key in `ZOO`.
        build: makes the network in fp32 from the global random state; the caller seeds it.
        inputs: `(n_rows, length)` → keyword inputs of forward. The second half of the rows is
            shorter than `length` and padded on the right; the content of a row depends on
            its index and its own length only. Images ignore `length`.
        blocks: per chain the patterns of its blocks, resolved by `matched`.
        after: per chain the indices of the chains whose output it reads.
        output: `(output of forward, inputs)` → (n_rows, width), what a task would read;
            nothing at padded places counts.
        library: where the network comes from.
        has_batchnorm: whether training mode mixes the rows and moves running statistics.
        modality: what goes in.
        company: whether a row's output is independent of the rows beside it in eval mode.
        lengths: a short and a longer `length` that suit the network.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int, int], Inputs]
    blocks: tuple[tuple[str, ...], ...]
    after: tuple[tuple[int, ...], ...]
    output: Callable[[Any, Mapping[str, torch.Tensor]], torch.Tensor]
    library: Literal["transformers", "timm", "torchvision", "own"]
    has_batchnorm: bool
    modality: Literal["text", "image", "audio", "image-text", "seq2seq", "detection"]
    company: bool = True
    lengths: tuple[int, int] = (7, 12)


# --- reading a specimen -----------------------------------------------------------------------


def matched(model: nn.Module, patterns: tuple[str, ...]) -> list[str]:
    """List the module paths of one chain, in the order in which its blocks run.

    Args:
        model: the network.
        patterns: module paths in which `*` stands for one whole path segment.

    Returns:
        Paths pattern by pattern, each pattern's in order of registration.
    """
    paths = [path for path, _ in model.named_modules()]
    chain: list[str] = []
    for pattern in patterns:
        expression = re.compile(re.escape(pattern).replace(r"\*", r"[^.]+"))
        chain.extend(p for p in paths if expression.fullmatch(p) and p not in chain)
    return chain


def row_alone(inputs: Mapping[str, torch.Tensor], row: int) -> Inputs:
    """Take one row out of a batch and cut its padding off."""
    alone = {key: value[row : row + 1] for key, value in inputs.items()}
    for prefix in ("", "decoder_"):
        mask_key = prefix + "attention_mask"
        for key in (prefix + "input_ids", prefix + "input_values"):
            if mask_key in alone and key in alone:
                length = int(alone[mask_key].sum())
                alone[key] = alone[key][:, :length]
                alone[mask_key] = alone[mask_key][:, :length]
    return alone


def enliven(model: nn.Module) -> nn.Module:
    """Add noise of natural size to all that trains, in place."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                std = 0.1 if parameter.ndim < 2 else 0.7 * parameter[0].numel() ** -0.5
                parameter.add_(torch.randn_like(parameter), alpha=std)
    return model


def settle(model: nn.Module, inputs: Mapping[str, torch.Tensor]) -> nn.Module:
    """Set the running statistics of batch norm near those of a batch, in place."""
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.train().momentum = 1.0
    with torch.no_grad():
        model(**inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            assert norm.running_mean is not None
            assert norm.running_var is not None
            # Off a little, or training mode on that batch would equal eval mode.
            norm.running_mean.add_(torch.randn_like(norm.running_mean), alpha=0.1)
            norm.running_var.mul_(torch.empty_like(norm.running_var).uniform_(0.7, 1.4))
    return model.train()


# --- inputs -----------------------------------------------------------------------------------


def _row_lengths(n_rows: int, length: int, *, step: int = 1) -> list[int]:
    n_full = (n_rows + 1) // 2
    shorter = [length - step * (2 + i % 3) for i in range(n_rows - n_full)]
    assert min(shorter, default=1) > 0, f"length {length} leaves no room for shorter rows"
    return [length] * n_full + shorter


def _generator(row: int, length: int) -> torch.Generator:
    return torch.Generator().manual_seed(1 + 1000 * length + row)


def _tokens(n_rows: int, length: int, *, pad: int, ends: bool = False) -> Inputs:
    ids = torch.full((n_rows, length), pad)
    mask = torch.zeros(n_rows, length, dtype=torch.long)
    for row, n in enumerate(_row_lengths(n_rows, length)):
        ids[row, :n] = torch.randint(FIRST_WORD, VOCABULARY, (n,), generator=_generator(row, n))
        mask[row, :n] = 1
        if ends:
            ids[row, n - 1] = EOS
    return {"input_ids": ids, "attention_mask": mask}


def _two_texts(n_rows: int, length: int, *, pad: int) -> Inputs:
    source = _tokens(n_rows, length, pad=pad)
    target = _tokens(n_rows, length // 2 + 3, pad=pad)
    return source | {f"decoder_{key}": value for key, value in target.items()}


def _images(n_rows: int, length: int, *, key: str, size: int) -> Inputs:
    rows = []
    for row in range(n_rows):
        generator = _generator(row, 0)
        # Noise alone would look the same to whatever takes means: give each row large patches.
        patches = torch.randn(3, 4, 4, generator=generator)
        grain = torch.randn(3, size, size, generator=generator)
        scale = size // 4
        large = patches.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
        rows.append(large + 0.3 * grain)
    return {key: torch.stack(rows)}


def _image_and_text(n_rows: int, length: int, *, size: int) -> Inputs:
    text = _tokens(n_rows, length, pad=1, ends=True)
    return text | _images(n_rows, length, key="pixel_values", size=size)


def _waves(n_rows: int, length: int) -> Inputs:
    values = torch.zeros(n_rows, length)
    mask = torch.zeros(n_rows, length, dtype=torch.long)
    # 13 samples are no whole number of frames, so that last frames are partial too.
    for row, n in enumerate(_row_lengths(n_rows, length, step=13)):
        noise = torch.randn(n, generator=_generator(row, n))
        values[row, :n] = torch.sin(torch.arange(n) * (0.1 + 0.05 * row)) + 0.5 * noise
        mask[row, :n] = 1
    return {"input_values": values, "attention_mask": mask}


def _spectrogram_and_text(n_rows: int, length: int) -> Inputs:
    """Give 30 s windows in small: the frames are fixed in number, silence fills the rest."""
    text = _tokens(n_rows, length, pad=0)
    frames = torch.full((n_rows, 8, WHISPER_FRAMES), -1.0)
    frame_mask = torch.zeros(n_rows, WHISPER_FRAMES, dtype=torch.long)
    for row, n in enumerate(_row_lengths(n_rows, length)):
        n_frames = min(2 * n, WHISPER_FRAMES)
        sound = torch.randn(8, n_frames, generator=_generator(row, n))
        frames[row, :, :n_frames] = sound
        frame_mask[row, :n_frames] = 1
    return {
        "input_features": frames,
        "attention_mask": frame_mask,
        "decoder_input_ids": text["input_ids"],
        "decoder_attention_mask": text["attention_mask"],
    }


# --- outputs ----------------------------------------------------------------------------------


def _mean(tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    weight = mask.unsqueeze(-1).to(tokens.dtype)
    # Not a product: 0 · NaN is NaN, and what stands at padded places must not count at all.
    kept = tokens.masked_fill(weight == 0, 0.0)
    return kept.sum(1) / weight.sum(1)


def _read_tokens(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return _mean(output.last_hidden_state, inputs["attention_mask"])


def _read_tokens_and_pooler(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([_read_tokens(output, inputs), output.pooler_output], dim=1)


def _read_decoder(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return _mean(output.last_hidden_state, inputs["decoder_attention_mask"])


def _read_frames(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    frames = output.last_hidden_state
    lengths = inputs["attention_mask"].sum(1)
    for kernel, stride in zip(CONV_KERNELS, CONV_STRIDES, strict=True):
        lengths = (lengths - kernel) // stride + 1
    places = torch.arange(frames.shape[1], device=frames.device)
    return _mean(frames, places[None, :] < lengths[:, None])


def _read_patches(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return output.last_hidden_state.mean(1)


def _read_pooled(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return output.pooler_output.flatten(1)


def _read_tensor(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return output


def _read_towers(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    return torch.cat([output.text_embeds, output.image_embeds], dim=1)


def _read_queries(output: Any, inputs: Mapping[str, torch.Tensor]) -> torch.Tensor:
    # Queries come ordered by score; their mean is the same in whatever order ties fall.
    read = [output.last_hidden_state, output.enc_topk_logits, output.enc_topk_bboxes]
    return torch.cat(read, dim=-1).mean(1)


# --- building ---------------------------------------------------------------------------------


def _config(name: str, **options: Any) -> Any:
    import transformers

    return getattr(transformers, name)(**options)


def _transformers(model: str, config: str, **options: Any) -> nn.Module:
    import transformers

    return enliven(getattr(transformers, model)(_config(config, **options)))


def _timm(name: str, **options: Any) -> nn.Module:
    import timm

    # `drop_rate` acts before the classifier, whether or not there is one.
    return enliven(timm.create_model(name, num_classes=0, drop_rate=0.1, **options))


WORDS = {"vocab_size": VOCABULARY, "bos_token_id": BOS, "eos_token_id": EOS}
SIZES = {"hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 48}
DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
BERT_LIKE = WORDS | SIZES | DROPOUT | {"num_hidden_layers": 4, "max_position_embeddings": 48}
T5_LIKE = WORDS | {
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 3,
    "num_heads": 2,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 16,
    "decoder_start_token_id": 0,
    "pad_token_id": 0,
    "dropout_rate": 0.1,
    "use_cache": False,
}
ENCODER_DECODER = WORDS | {
    "d_model": 32,
    "encoder_layers": 3,
    "decoder_layers": 3,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 48,
    "pad_token_id": 0,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": EOS,
    "dropout": 0.1,
    "attention_dropout": 0.1,
    "use_cache": False,
}
WAV2VEC2_LIKE = SIZES | {
    "vocab_size": VOCABULARY,
    "num_hidden_layers": 4,
    "conv_dim": (16, 16),
    "conv_kernel": CONV_KERNELS,
    "conv_stride": CONV_STRIDES,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "layerdrop": 0.0,
    "hidden_dropout": 0.1,
    "attention_dropout": 0.1,
}
VIT_LIKE = SIZES | {"num_hidden_layers": 4, "image_size": 32, "patch_size": 8}


def _clip() -> nn.Module:
    options = SIZES | {"num_hidden_layers": 3, "attention_dropout": 0.1}
    text = WORDS | options | {"max_position_embeddings": 32, "pad_token_id": 1}
    vision = options | {"image_size": 32, "patch_size": 8}
    return _transformers(
        "CLIPModel", "CLIPConfig", text_config=text, vision_config=vision, projection_dim=16
    )


def _rt_detr() -> nn.Module:
    backbone = _config(
        "RTDetrResNetConfig",
        embedding_size=8,
        hidden_sizes=[8, 16, 16, 24],
        depths=[1, 1, 1, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    return _transformers(
        "RTDetrModel",
        "RTDetrConfig",
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[16, 16, 24],
        encoder_ffn_dim=24,
        encoder_attention_heads=2,
        d_model=16,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=24,
        decoder_attention_heads=2,
        decoder_layers=3,
        decoder_n_points=2,
        num_queries=8,
        num_labels=5,
        dropout=0.1,
    )


def _torchvision_resnet() -> nn.Module:
    from torchvision.models.resnet import BasicBlock, ResNet

    class NarrowResNet(ResNet):
        """torchvision fixes the widths at 64 to 512; an eighth of them does here."""

        def _make_layer(
            self, block: Any, planes: int, blocks: int, stride: int = 1, dilate: bool = False
        ) -> nn.Sequential:
            return super()._make_layer(block, planes // 8, blocks, stride, dilate)

    model = NarrowResNet(BasicBlock, [1, 1, 1, 1])
    model.fc = nn.Linear(64, 5)
    return enliven(model)


def _torchvision_mobilenet_v2() -> nn.Module:
    from torchvision.models import MobileNetV2

    setting = [[1, 32, 1, 1], [4, 48, 2, 2], [4, 64, 1, 2]]
    return enliven(MobileNetV2(num_classes=5, width_mult=0.25, inverted_residual_setting=setting))


def _torchvision_mobilenet_v3() -> nn.Module:
    from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3

    setting = [
        # in, kernel, expanded, out, squeeze-excite, activation, stride, dilation, width
        InvertedResidualConfig(8, 3, 8, 8, True, "RE", 2, 1, 1.0),
        InvertedResidualConfig(8, 3, 24, 16, False, "RE", 2, 1, 1.0),
        InvertedResidualConfig(16, 5, 32, 16, True, "HS", 1, 1, 1.0),
    ]
    return enliven(MobileNetV3(setting, last_channel=32, num_classes=5))


def _torchvision_squeezenet() -> nn.Module:
    from torchvision.models import SqueezeNet

    return enliven(SqueezeNet("1_1", num_classes=5))


class PlainCNN(nn.Module):
    """Be what somebody writes in an afternoon: a chain of convolutions and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 12, 16, 16)
        self.features = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(a, b, 3, stride=1 + i % 2, padding=1),
                    nn.BatchNorm2d(b),
                    nn.ReLU(inplace=True),
                    nn.Dropout2d(0.1),
                )
                for i, (a, b) in enumerate(pairwise(widths))
            )
        )
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).mean((2, 3)))


class FlatDense(nn.Module):
    """Be what a Keras model converts to: all layers direct children, the graph in forward.

    The residual connection goes over `dense1` and `bn1`, so a cut between the two has two
    tensors cross it, which no block's own arguments show.
    """

    def __init__(self) -> None:
        super().__init__()
        self.dense0 = nn.Linear(48, 24)
        self.bn0 = nn.BatchNorm1d(24)
        self.dense1 = nn.Linear(24, 24)
        self.bn1 = nn.BatchNorm1d(24)
        self.dropout = nn.Dropout(0.1)
        self.dense2 = nn.Linear(24, 16)
        self.bn2 = nn.BatchNorm1d(16)
        self.predictions = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.bn0(self.dense0(x.flatten(1))).relu()
        second = self.bn1(self.dense1(first)).relu()
        third = self.bn2(self.dense2(self.dropout(first + second))).relu()
        return self.predictions(third)


# --- the table --------------------------------------------------------------------------------


def _settled(
    build: Callable[[], nn.Module], inputs: Callable[[int, int], Inputs]
) -> Callable[[], nn.Module]:
    return lambda: settle(build(), inputs(16, 0))


def _encoder(name: str, build: Callable[[], nn.Module], blocks: str, **rest: Any) -> Specimen:
    """Describe a text encoder of one chain; `rest` overrides."""
    fields: dict[str, Any] = {
        "inputs": partial(_tokens, pad=0),
        "after": ((),),
        "output": _read_tokens,
        "library": "transformers",
        "has_batchnorm": False,
        "modality": "text",
    }
    return Specimen(name, build, blocks=((blocks,),), **(fields | rest))


def _vision(
    name: str,
    build: Callable[[], nn.Module],
    blocks: tuple[str, ...],
    library: Literal["transformers", "timm", "torchvision", "own"],
    **rest: Any,
) -> Specimen:
    """Describe an image network of one chain; `rest` overrides, `size` is in pixels."""
    key = "pixel_values" if library == "transformers" else "x"
    inputs = partial(_images, key=key, size=rest.pop("size", 32))
    fields: dict[str, Any] = {
        "inputs": inputs,
        "after": ((),),
        "output": _read_tensor,
        "has_batchnorm": False,
        "modality": "image",
    }
    if rest.get("has_batchnorm"):
        build = _settled(build, inputs)
    return Specimen(name, build, blocks=(blocks,), library=library, **(fields | rest))


def _audio(name: str, build: Callable[[], nn.Module], *, company: bool = True) -> Specimen:
    """Describe a network over waveforms; lengths are in samples."""
    return Specimen(
        name,
        build,
        inputs=_waves,
        blocks=(("encoder.layers.*",),),
        after=((),),
        output=_read_frames,
        library="transformers",
        has_batchnorm=False,
        modality="audio",
        company=company,
        lengths=(120, 200),
    )


_large_images = partial(_images, key="pixel_values", size=64)
_make = partial(partial, _transformers)
_create = partial(partial, _timm)

_SPECIMENS = (
    # Text, one chain.
    _encoder(
        "bert",
        _make("BertModel", "BertConfig", pad_token_id=0, **BERT_LIKE),
        "encoder.layer.*",
        output=_read_tokens_and_pooler,
    ),
    _encoder(
        "distilbert",
        _make(
            "DistilBertModel",
            "DistilBertConfig",
            dim=32,
            hidden_dim=48,
            n_layers=4,
            n_heads=2,
            max_position_embeddings=48,
            **WORDS,
        ),
        "transformer.layer.*",
    ),
    _encoder(
        "roberta",
        _make("RobertaModel", "RobertaConfig", pad_token_id=1, **BERT_LIKE),
        "encoder.layer.*",
        inputs=partial(_tokens, pad=1),
    ),
    _encoder(
        "mpnet",
        _make("MPNetModel", "MPNetConfig", pad_token_id=1, **BERT_LIKE),
        "encoder.layer.*",
        inputs=partial(_tokens, pad=1),
    ),
    _encoder(
        "deberta",
        _make(
            "DebertaV2Model",
            "DebertaV2Config",
            pad_token_id=0,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            share_att_key=True,
            norm_rel_ebd="layer_norm",
            position_buckets=8,
            position_biased_input=False,
            **BERT_LIKE,
        ),
        "encoder.layer.*",
    ),
    # The xlarge form: a convolution after the first block reads what went into that block.
    _encoder(
        "deberta-conv",
        _make(
            "DebertaV2Model",
            "DebertaV2Config",
            pad_token_id=0,
            relative_attention=True,
            pos_att_type=["p2c", "c2p"],
            conv_kernel_size=3,
            conv_act="gelu",
            **BERT_LIKE,
        ),
        "encoder.layer.*",
    ),
    _encoder(
        "albert",
        _make("AlbertModel", "AlbertConfig", pad_token_id=0, embedding_size=16, **BERT_LIKE),
        "encoder.albert_layer_groups.*",
        output=_read_tokens_and_pooler,
    ),
    _encoder(
        "modernbert",
        _make(
            "ModernBertModel",
            "ModernBertConfig",
            num_hidden_layers=4,
            max_position_embeddings=48,
            pad_token_id=0,
            cls_token_id=BOS,
            sep_token_id=EOS,
            # Narrower than the rows, and two blocks of four see all: both masks matter.
            local_attention=4,
            global_attn_every_n_layers=2,
            embedding_dropout=0.1,
            mlp_dropout=0.1,
            attention_dropout=0.1,
            **WORDS,
            **SIZES,
        ),
        "layers.*",
    ),
    _encoder("t5-encoder", _make("T5EncoderModel", "T5Config", **T5_LIKE), "encoder.block.*"),
    _encoder(
        "gpt2",
        _make(
            "GPT2Model",
            "GPT2Config",
            n_embd=32,
            n_layer=4,
            n_head=2,
            n_inner=48,
            n_positions=48,
            pad_token_id=0,
            use_cache=False,
            **WORDS,
        ),
        "h.*",
    ),
    # Text to text, two chains.
    Specimen(
        "t5",
        _make("T5Model", "T5Config", **T5_LIKE),
        inputs=partial(_two_texts, pad=0),
        blocks=(("encoder.block.*",), ("decoder.block.*",)),
        after=((), (0,)),
        output=_read_decoder,
        library="transformers",
        has_batchnorm=False,
        modality="seq2seq",
    ),
    Specimen(
        "marian",
        _make("MarianModel", "MarianConfig", max_position_embeddings=48, **ENCODER_DECODER),
        inputs=partial(_two_texts, pad=0),
        blocks=(("encoder.layers.*",), ("decoder.layers.*",)),
        after=((), (0,)),
        output=_read_decoder,
        library="transformers",
        has_batchnorm=False,
        modality="seq2seq",
    ),
    # Audio.
    _audio(
        "wav2vec2",
        _make(
            "Wav2Vec2Model",
            "Wav2Vec2Config",
            feat_extract_norm="layer",
            do_stable_layer_norm=True,
            **WAV2VEC2_LIKE,
        ),
    ),
    # Group norm takes its mean over time, padding included: a row depends on how far it is
    # padded, and so on the longest row beside it.
    _audio(
        "wav2vec2-group",
        _make("Wav2Vec2Model", "Wav2Vec2Config", feat_extract_norm="group", **WAV2VEC2_LIKE),
        company=False,
    ),
    _audio(
        "wavlm",
        _make(
            "WavLMModel",
            "WavLMConfig",
            feat_extract_norm="layer",
            num_buckets=8,
            max_bucket_distance=16,
            **WAV2VEC2_LIKE,
        ),
    ),
    Specimen(
        "whisper",
        _make(
            "WhisperModel",
            "WhisperConfig",
            num_mel_bins=8,
            max_source_positions=WHISPER_FRAMES // 2,
            max_target_positions=32,
            begin_suppress_tokens=None,
            **ENCODER_DECODER,
        ),
        inputs=_spectrogram_and_text,
        blocks=(("encoder.layers.*",), ("decoder.layers.*",)),
        after=((), (0,)),
        output=_read_decoder,
        library="transformers",
        has_batchnorm=False,
        modality="audio",  # yet its lengths count decoder tokens: the frames are fixed
    ),
    # Images, transformers.
    _vision(
        "vit",
        _make("ViTModel", "ViTConfig", **VIT_LIKE, **DROPOUT),
        ("layers.*",),
        "transformers",
        output=_read_patches,
    ),
    _vision(
        "dinov2",
        _make("Dinov2Model", "Dinov2Config", drop_path_rate=0.1, **VIT_LIKE, **DROPOUT),
        ("encoder.layer.*",),
        "transformers",
        output=_read_patches,
    ),
    _vision(
        "dinov3",
        _make(
            "DINOv3ViTModel",
            "DINOv3ViTConfig",
            num_register_tokens=2,
            drop_path_rate=0.1,
            attention_dropout=0.1,
            **VIT_LIKE,
        ),
        ("model.layer.*",),
        "transformers",
        output=_read_patches,
    ),
    _vision(
        "swin",
        _make(
            "SwinModel",
            "SwinConfig",
            image_size=32,
            patch_size=4,
            embed_dim=16,
            depths=[2, 2],
            num_heads=[2, 2],
            window_size=4,
            mlp_ratio=2.0,
            **DROPOUT,
        ),
        ("encoder.layers.0.blocks.*", "encoder.layers.0.downsample", "encoder.layers.1.blocks.*"),
        "transformers",
        output=_read_pooled,
    ),
    _vision(
        "convnext",
        _make(
            "ConvNextModel",
            "ConvNextConfig",
            num_stages=3,
            hidden_sizes=[8, 16, 24],
            depths=[1, 2, 1],
            drop_path_rate=0.1,
        ),
        ("encoder.stages.*",),
        "transformers",
        output=_read_pooled,
    ),
    _vision(
        "resnet",
        _make(
            "ResNetModel",
            "ResNetConfig",
            embedding_size=8,
            hidden_sizes=[8, 16, 24],
            depths=[1, 2, 1],
            layer_type="basic",
        ),
        ("encoder.stages.*.layers.*",),
        "transformers",
        output=_read_pooled,
        has_batchnorm=True,
    ),
    _vision(
        "mobilenet-v2",
        _make(
            "MobileNetV2Model",
            "MobileNetV2Config",
            image_size=32,
            depth_multiplier=0.25,
            expand_ratio=2.0,
            finegrained_output=False,
        ),
        ("layer.*",),
        "transformers",
        output=_read_pooled,
        has_batchnorm=True,
    ),
    _vision(
        "efficientnet",
        _make(
            "EfficientNetModel",
            "EfficientNetConfig",
            image_size=32,
            width_coefficient=0.05,
            depth_coefficient=1.0,
            kernel_sizes=[3, 3, 5],
            in_channels=[160, 160, 320],
            out_channels=[160, 320, 480],
            strides=[1, 2, 2],
            num_block_repeats=[1, 2, 1],
            expand_ratios=[1, 4, 4],
            hidden_dim=64,
        ),
        ("encoder.blocks.*",),
        "transformers",
        output=_read_pooled,
        has_batchnorm=True,
    ),
    # Images, timm.
    _vision(
        "timm-vit",
        _create(
            "test_vit",
            img_size=32,
            patch_size=8,
            embed_dim=32,
            depth=4,
            drop_path_rate=0.1,
            proj_drop_rate=0.1,
        ),
        ("blocks.*",),
        "timm",
    ),
    _vision(
        "timm-swin",
        _create(
            "swin_tiny_patch4_window7_224",
            img_size=32,
            window_size=4,
            embed_dim=16,
            depths=(2, 2),
            num_heads=(2, 2),
            proj_drop_rate=0.1,
        ),
        ("layers.0.blocks.*", "layers.1.downsample", "layers.1.blocks.*"),
        "timm",
    ),
    _vision(
        "timm-convnext",
        _create("test_convnext", depths=(1, 1, 2, 1), dims=(8, 16, 24, 32), drop_path_rate=0.1),
        ("stages.*",),
        "timm",
    ),
    _vision(
        "timm-resnet",
        _create("test_resnet", channels=(8, 16, 24, 32), drop_path_rate=0.1),
        ("layer1.*", "layer2.*", "layer3.*", "layer4.*"),
        "timm",
        has_batchnorm=True,
    ),
    _vision(
        "timm-mobilenet-v2",
        _create("mobilenetv2_035", depth_multiplier=0.3, drop_path_rate=0.1),
        ("blocks.*.*",),
        "timm",
        has_batchnorm=True,
    ),
    _vision(
        "timm-mobilenet-v3",
        _create("mobilenetv3_small_050", depth_multiplier=0.3, drop_path_rate=0.1),
        ("blocks.*.*",),
        "timm",
        has_batchnorm=True,
    ),
    _vision(
        "timm-efficientnet",
        _create("test_efficientnet", drop_path_rate=0.1),
        ("blocks.*.*",),
        "timm",
        has_batchnorm=True,
    ),
    # Images, torchvision.
    _vision(
        "torchvision-resnet",
        _torchvision_resnet,
        ("layer1.*", "layer2.*", "layer3.*", "layer4.*"),
        "torchvision",
        has_batchnorm=True,
    ),
    _vision(
        "torchvision-mobilenet-v2",
        _torchvision_mobilenet_v2,
        ("features.*",),
        "torchvision",
        has_batchnorm=True,
    ),
    _vision(
        "torchvision-mobilenet-v3",
        _torchvision_mobilenet_v3,
        ("features.*",),
        "torchvision",
        has_batchnorm=True,
    ),
    # Some of these blocks are in-place activations, which overwrite what crossed the cut.
    _vision("squeezenet", _torchvision_squeezenet, ("features.*",), "torchvision"),
    # Own modules.
    _vision("plain-cnn", lambda: enliven(PlainCNN()), ("features.*",), "own", has_batchnorm=True),
    _vision(
        "flat-dense",
        lambda: enliven(FlatDense()),
        ("dense0", "bn0", "dense1", "bn1", "dropout", "dense2", "bn2"),
        "own",
        size=4,
        has_batchnorm=True,
    ),
    # Several chains and modalities.
    Specimen(
        "clip",
        _clip,
        inputs=partial(_image_and_text, size=32),
        blocks=(("text_model.encoder.layers.*",), ("vision_model.encoder.layers.*",)),
        after=((), ()),
        output=_read_towers,
        library="transformers",
        has_batchnorm=False,
        modality="image-text",
    ),
    Specimen(
        "rt-detr",
        _settled(_rt_detr, _large_images),
        inputs=_large_images,
        blocks=(
            ("backbone.model.encoder.stages.*",),
            (
                "encoder.aifi.*",
                "encoder.lateral_convs.0",
                "encoder.fpn_blocks.0",
                "encoder.lateral_convs.1",
                "encoder.fpn_blocks.1",
                "encoder.downsample_convs.0",
                "encoder.pan_blocks.0",
                "encoder.downsample_convs.1",
                "encoder.pan_blocks.1",
            ),
            ("decoder.layers.*",),
        ),
        after=((), (0,), (1,)),
        output=_read_queries,
        library="transformers",
        has_batchnorm=True,
        modality="detection",
    ),
)

ZOO: dict[str, Specimen] = {specimen.name: specimen for specimen in _SPECIMENS}
