"""The other side: transformers' Trainer, a hand-made ELECTRA loop of its two heads, and GPT-2 in the structure of nanoGPT.

Written as their users write them. What favours them: ids are ready in memory (no Arrow), the models start from directories that malmoi
exported, one process, no logging, no checkpoints, no evaluation, AdamW in its fused form.

R rows, T positions, D width, V tokens, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from malmoi.core.marks import Marks
from malmoi.shards import Shards

LENGTH = 128


def stream(shards: Shards, marks: Marks) -> np.ndarray:
    """All documents one behind the other, each as [CLS] w.. [SEP]: what run_mlm.py cuts into blocks."""
    starts = np.concatenate([[0], shards.ends[:-1]])
    around = np.tile([marks.begin, marks.end], shards.documents)
    return np.insert(shards.ids(0, shards.tokens), np.stack([starts, shards.ends], 1).ravel(), around)


def blocks(shards: Shards, marks: Marks, length: int = LENGTH) -> np.ndarray:
    """(blocks, length): the stream cut without regard to documents (`group_texts` of run_mlm.py and run_clm.py), the rest dropped."""
    ids = stream(shards, marks)
    return ids[: len(ids) // length * length].reshape(-1, length)


class Examples(torch.utils.data.Dataset):
    """What the map over a dataset leaves: lists of ids with their masks. rows: one array of ids an example, marks included.

    No `token_type_ids`: GPT2LMHeadModel would take them for words and add the vector of token 0 at every place, in training only."""

    def __init__(self, rows: Any, marks: Marks) -> None:
        self.rows, self.marks = rows, {marks.begin, marks.end}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, list[int]]:
        ids = self.rows[index].tolist()
        special = [int(id in self.marks) for id in ids]
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "special_tokens_mask": special}


@dataclass(frozen=True)
class Options:
    """Of a training loop: rows a step, precision, optimizer; `factor` (or None: linear decay over 3 epochs, transformers' default) is the
    learning rate's course, called once a step."""

    rows: int = 32
    bf16: bool = False
    learning_rate: float = 5e-5
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    clip: float = 1.0
    factor: Callable[[int], float] | None = None
    seed: int = 0


def train_with_trainer(
    model: Any, examples: Examples, directory: Path, *, kind: str, options: Options, begin: Callable[[], None], step: Callable[[int], bool]
) -> None:
    """transformers' Trainer as run_mlm.py (kind "masked") and run_clm.py (kind "causal") use it. `begin` is called before the first step,
    `step` after each, with its number of real tokens; training ends when it says True. `directory` holds the tokenizer."""
    import transformers
    from transformers.trainer import Trainer

    transformers.logging.set_verbosity_error()
    tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(directory)
    collator = transformers.DataCollatorForLanguageModeling(
        tokenizer, mlm=kind == "masked", mlm_probability=0.15 if kind == "masked" else None
    )
    taken = {"tokens": 0}

    class Counting(Trainer):  # type: ignore[misc, valid-type]
        def training_step(self, model: Any, inputs: Any, *rest: Any, **named: Any) -> Tensor:
            taken["tokens"] = int(inputs["attention_mask"].sum())
            loss: Tensor = super().training_step(model, inputs, *rest, **named)
            return loss

    class Steps(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            begin()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = step(taken["tokens"])

    arguments = transformers.TrainingArguments(
        output_dir=str(directory / "trainer"),
        per_device_train_batch_size=options.rows,
        learning_rate=options.learning_rate,
        adam_beta1=options.betas[0],
        adam_beta2=options.betas[1],
        adam_epsilon=options.epsilon,
        max_grad_norm=options.clip,
        num_train_epochs=3.0,
        bf16=options.bf16,
        use_cpu=not torch.cuda.is_available(),
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=options.seed,
        dataloader_drop_last=True,
        remove_unused_columns=True,
    )
    trainer = Counting(model=model, args=arguments, train_dataset=examples, data_collator=collator, callbacks=[Steps()])
    if options.factor is not None:
        trainer.create_optimizer()
        trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(trainer.optimizer, options.factor)
    trainer.train()


def shuffled(rows: np.ndarray, count: int, seed: int) -> Iterator[Tensor]:
    """(count, length) blocks, all of them each epoch in another order, without end."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(rows))
        for start in range(0, len(order) - count + 1, count):
            yield torch.from_numpy(rows[order[start : start + count]].astype(np.int64))


class ElectraPair(nn.Module):
    """ElectraForMaskedLM and ElectraForPreTraining, put together by hand, for transformers has no script for it: full logits of the
    generator, softmax and multinomial at the masked positions (not at all of them, which is slower), embeddings shared, weight 50."""

    def __init__(self, generator: nn.Module, discriminator: nn.Module, *, weight: float = 50.0) -> None:
        super().__init__()
        self.generator, self.discriminator, self.weight = generator, discriminator, weight
        self.discriminator.electra.embeddings = self.generator.electra.embeddings  # type: ignore[union-attr]

    def forward(self, ids_RT: Tensor, masked_RT: Tensor, chosen_RT: Tensor) -> Tensor:
        """Originals, what the generator reads, the places to fill -> the loss."""
        labels = torch.where(chosen_RT, ids_RT, -100)
        filled = self.generator(input_ids=masked_RT, labels=labels)
        with torch.no_grad():
            chances = torch.softmax(filled.logits[chosen_RT].float(), dim=-1)
            sampled = torch.multinomial(chances, 1).squeeze(1)
        read = masked_RT.masked_scatter(chosen_RT, sampled)
        told = self.discriminator(input_ids=read, labels=(read != ids_RT).masked_fill(~chosen_RT, False).long())
        return filled.loss + self.weight * told.loss


def corrupted(ids_RT: Tensor, marks: Marks) -> tuple[Tensor, Tensor]:
    """(what the generator reads, chosen places): 15% of all tokens but the marks, 85% of them masked."""
    chosen = (torch.rand(ids_RT.shape) < 0.15) & (ids_RT != marks.begin) & (ids_RT != marks.end)
    return ids_RT.masked_fill(chosen & (torch.rand(ids_RT.shape) < 0.85), marks.mask or 0), chosen


def train_electra(
    pair: ElectraPair, rows: np.ndarray, marks: Marks, *, options: Options, begin: Callable[[], None], step: Callable[[int], bool]
) -> None:
    """A plain loop over the pair; `begin` and `step` as in `train_with_trainer`."""
    optimizer = _adamw(pair, options)
    device = next(pair.parameters()).device
    batches = shuffled(rows, options.rows, options.seed)
    factor = options.factor or _linear(3 * (len(rows) // options.rows))
    pair.train()
    torch.manual_seed(options.seed)
    begin()
    for number, ids in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * factor(number)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.bf16):
            read, chosen = corrupted(ids, marks)
            loss = pair(ids.to(device), read.to(device), chosen.to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(pair.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step(ids.numel()):
            return


class NanoBlock(nn.Module):
    """ln_1, fused q k v, flash attention, projection; ln_2, two linear layers with GELU."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.c_fc, self.c_out = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            part.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.c_attn(self.ln_1(x)).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.c_proj(y.transpose(1, 2).contiguous().view(rows, length, width))
        return x + self.c_out(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class NanoGPT(nn.Module):
    """GPT-2 in the structure of nanoGPT: vocabulary padded to a multiple of 64, output tied to the embedding, logits of every position,
    F.cross_entropy. Dropout 0 (its default for pre-training). GELU by tanh as in GPT-2, so that its loss can be held to malmoi's."""

    def __init__(
        self, *, vocabulary: int, length: int = LENGTH, depth: int = 4, width: int = 256, heads: int = 4, padded: bool = True
    ) -> None:
        super().__init__()
        size = math.ceil(vocabulary / 64) * 64 if padded else vocabulary
        self.wte, self.wpe = nn.Embedding(size, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(NanoBlock(width, heads) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, size, bias=False)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            for last in (block.c_proj, block.c_out):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * depth))
        self.lm_head.weight = self.wte.weight

    def forward(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean loss; targets -1 count for nothing."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), ignore_index=-1)


def nano_weights(model: Any) -> dict[str, Tensor]:
    """The state of a NanoGPT with the weights of a malmoi Model (GPT-2: norms before the parts, tied, same sizes)."""
    ours = model.state_dict()
    table, places = ours["frontend.weight"], ours["frontend.positions"]
    state = {"wte.weight": table, "wpe.weight": places, "lm_head.weight": table}
    names = {
        "ln_1": "attention.norm",
        "ln_2": "feedforward.norm",
        "c_attn": "attention.part.qkv",
        "c_proj": "attention.part.out",
        "c_fc": "feedforward.part.up",
        "c_out": "feedforward.part.down",
    }
    for kind in ("weight", "bias"):
        state[f"ln_f.{kind}"] = ours[f"backbone.norm.{kind}"]
        for index in range(len(model.backbone.blocks)):
            state |= {f"blocks.{index}.{one}.{kind}": ours[f"backbone.blocks.{index}.{other}.{kind}"] for one, other in names.items()}
    return state


def train_nano(
    model: NanoGPT, tokens: np.ndarray, *, options: Options, begin: Callable[[], None], step: Callable[[int], bool], length: int = LENGTH
) -> None:
    """nanoGPT's loop: random places of one stream of tokens, weight decay on matrices, AdamW, clipping."""
    optimizer = _adamw(model, options, decay=0.1)
    device = next(model.parameters()).device
    random = np.random.default_rng(options.seed)
    model.train()
    begin()
    while True:
        places = random.integers(0, len(tokens) - length - 1, options.rows)[:, None] + np.arange(length + 1)
        ids = torch.from_numpy(tokens[places].astype(np.int64)).to(device)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=options.bf16):
            loss = model(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step(ids.shape[0] * length):
            return


def _adamw(model: nn.Module, options: Options, *, decay: float = 0.0) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    others = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=options.betas, eps=options.epsilon, fused=True)


def _linear(steps: int) -> Callable[[int], float]:
    return lambda number: max(0.0, 1.0 - number / max(steps, 1))
