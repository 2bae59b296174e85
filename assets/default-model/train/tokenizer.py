"""Makes the vocabulary: a byte-level BPE in the file format of CLIP's tokenizer, for English and Korean captions."""
import json
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextModel, CLIPTokenizer, CLIPTokenizerFast
from transformers.models.clip.tokenization_clip import bytes_to_unicode

from captions import phrases
from settings import TOKENS

MERGES = 4400
# CLIP's splitting of text into words (openai/CLIP, clip/simple_tokenizer.py).
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def learned_merges(corpus: list[str], at_least: int = 2, most: int = MERGES) -> list[tuple[str, str]]:
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    # The trainer counts letters with and without the end mark: 512 of them before the first merge.
    trainer = trainers.BpeTrainer(vocab_size=most + 512, min_frequency=at_least, end_of_word_suffix="</w>",
                                  show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(corpus, trainer)
    merges = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in merges][:most]


def train_tokenizer(entries: list[dict], folder: Path):
    corpus = []
    for entry in entries:
        repeated = 2 if entry["weight"] >= 1 else 1
        corpus += (entry["english"] + entry["korean"] + [entry["symbol"]]) * repeated
    corpus += phrases() * 20
    letters = list(bytes_to_unicode().values())
    merges = learned_merges(corpus)
    vocabulary = letters + [c + "</w>" for c in letters] + [a + b for a, b in merges]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({v: i for i, v in enumerate(vocabulary)}, ensure_ascii=False, indent=2) + "\n")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(f"{a} {b}" for a, b in merges) + "\n")
    CLIPTokenizer(folder / "vocab.json", folder / "merges.txt", model_max_length=TOKENS).save_pretrained(folder)
    print("vocabulary of", len(vocabulary), "tokens")


def add_words(folder: Path, words: list[str]) -> CLIPTokenizerFast:
    """Appends merges to the tokenizer of a folder until each of the words is one token. The merges before them come first
    as they did, so that every other word that was one token stays what it was."""
    vocabulary = json.loads((folder / "vocab.json").read_text())
    lines = (folder / "merges.txt").read_text().splitlines()
    tokenizer = load_tokenizer(folder)
    for word in words:
        first, *others = tokenizer.tokenize(word)
        if not others:
            continue
        for other in others:
            lines.append(f"{first} {other}")
            first += other
            vocabulary.setdefault(first, len(vocabulary))
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, indent=2) + "\n")
        (folder / "merges.txt").write_text("\n".join(lines) + "\n")
        tokenizer = load_tokenizer(folder)
    parts = [w for w in words if len(tokenizer.tokenize(w)) != 1]
    assert not parts, f"not one token: {parts}"
    return tokenizer


@torch.no_grad()
def teach_words(text_encoder: CLIPTextModel, folder: Path, meanings: dict[str, str]) -> CLIPTokenizerFast:
    """Gives each word a token of its own, which starts as the mean of the tokens that its meaning had before."""
    old = load_tokenizer(folder)
    new = add_words(folder, sorted(meanings))
    text_encoder.resize_token_embeddings(len(new), mean_resizing=False)
    rows = text_encoder.text_model.embeddings.token_embedding.weight
    for word, meaning in meanings.items():
        token = new(word).input_ids[1]
        if token >= len(old):
            rows[token] = rows[old(meaning or word).input_ids[1:-1]].mean(0)
    return new


def load_tokenizer(folder: Path) -> CLIPTokenizerFast:
    """The quick form of the same tokenizer; both give the same numbers."""
    limit = json.loads((folder / "tokenizer_config.json").read_text())["model_max_length"]
    return CLIPTokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=limit)
