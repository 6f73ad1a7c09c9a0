#!/usr/bin/env python3
"""Compares Heed's tokenizer with the Python package tokenizers on generated texts.

    tokenizer_diff.py --tool build/dev/tests/tokenize_lines [--count 20000] [--seed 1] [--only name] [file.json ...]

Builds tokenizers of every kind in memory (the same ones each time), adds the tokenizer.json files given, and checks
on each that ids (with and without special tokens) and decoded texts are equal. Prints the first differences; the exit
status is 1 if there are any.
"""
import argparse
import base64
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import threading

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors,
                        trainers)

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}", r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+"])
CL100K_POSSESSIVE = (r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*"
                     r"|\s*[\r\n]|\s+(?!\S)|\s+")
DEEPSEEK_V3 = [
    r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"]
DEEPSEEK_CODER = [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+"]
KIMI_LIKE = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+"
             r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

WORDS = ("the of and to in is you that it he was for on are as with his they at be this have from or one had by word "
         "but not what all were we when your can said there use an each which she do how their if will up other about "
         "out many then them these so some her would make like him into time has look two more write go see number no "
         "way could people my than first water been call who oil its now find long down day did get come made may part "
         "don't I'll we've they're it's can't O'Neill HTTPServer camelCase snake_case 3.14159 1,000,000 2024-01-31 "
         "straße façade naïve Ünïcödé İstanbul ΟΔΥΣΣΕΥΣ привет мир как дела שלום עולם مرحبا بالعالم سَلَام नमस्ते दुनिया "
         "สวัสดีชาวโลก 你好世界 今天天气很好 こんにちは カタカナ ひらがな 안녕하세요 세계 ქართული Հայերեն አማርኛ বাংলা தமிழ் "
         "ትግርኛ ᏣᎳᎩ ភាសាខ្មែរ မြန်မာ ລາວ བོད་ཡིག ᠮᠣᠩᠭᠣᠯ Tiếng Việt Đặng ŒUVRE ﬁne ﬃ ½ ² ① Ⅷ ㌔ ㍿ ｶﾀｶﾅ ＡＢＣ １２３ ﷺ "
         "𝒳𝓎 𝟘𝟙 def return import <div> &amp; /* */ // != == => :: ... --- ___ $100 50% #tag @user a@b.co "
         "https://example.com/a?b=c&d=e#f").split()
EMOJI = ["😀", "👩‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "☺", "🧑🏿‍🚀", "🫠", "🪿", "5️⃣", "🫩"]
MARKS = ["\u0301", "\u0327", "\u0323", "\u0334", "\u0345", "\u20dd", "\u0e49", "\u064b", "\u05b0", "\u3099", "\u093c",
         "\u094d", "\u200d", "\ufe0f", "\u0338", "\u1ab0", "\u1dfa", "\u08d3"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x85",
          "\u180e", "\x0b", "\x0c", "\x1c", "\ufeff", "\u202f"]
SPECIALS = ["<s>", "</s>", "<unk>", "[CLS]", "[SEP]", "[MASK]", "[UNK]", "<|endoftext|>", "<|im_start|>", "<|im_end|>",
            "<|begin_of_text|>", "<bos>", "<|user|>", "<0x0A>", "<tool>", "<think>", "Ünï", "wörd", "▁", "##", "Ġ"]
BLOCKS = [(0, 0x7f), (0x80, 0x24f), (0x250, 0x3ff), (0x400, 0x5ff), (0x600, 0x8ff), (0x900, 0xdff), (0xe00, 0x11ff),
          (0x1200, 0x1fff), (0x2000, 0x2bff), (0x2c00, 0x33ff), (0x3400, 0x9fff), (0xa000, 0xabff), (0xac00, 0xd7ff),
          (0xe000, 0xf8ff), (0xf900, 0xffff), (0x10000, 0x11fff), (0x12000, 0x18fff), (0x1b000, 0x1dfff),
          (0x1e000, 0x1efff), (0x1f000, 0x1fbff), (0x20000, 0x323af), (0xe0000, 0xe01ef), (0xffff0, 0x10ffff)]


def any_character(rng):
    lo, hi = rng.choice(BLOCKS)
    return chr(rng.randint(lo, hi))


def piece(rng):
    kind = rng.randrange(16)
    if kind < 5:
        word = rng.choice(WORDS)
        return rng.choice([word, word, " " + word, " " + word, word.upper(), word.capitalize()])
    if kind < 7:
        return rng.choice(SPACES)
    if kind == 7:
        return rng.choice(EMOJI)
    if kind == 8:
        return rng.choice("aeoçnкअกaA") + "".join(rng.choice(MARKS) for _ in range(rng.randint(1, 4)))
    if kind == 9:
        return rng.choice(SPACES + [" "]) * rng.randint(1, 12)
    if kind == 10:
        return "".join(rng.choice("0123456789٣५Ⅳ²") for _ in range(rng.randint(1, 9)))
    if kind == 11:
        return rng.choice(["", " ", "  "]) + rng.choice(SPECIALS) + rng.choice(["", " ", "\n"])
    if kind == 12:
        return rng.choice("!?.,;:'\"()[]{}-_=+*/\\|<>@#$%^&~`’“”—…。、！") * rng.randint(1, 4)
    if kind == 13:
        return rng.choice(["'s", "'T", "'re", "'VE", "'m", "'LL", "'d", "'\u017f", "’s"])
    if kind == 14:
        return rng.choice("aZé世") * rng.randint(1, 30)
    return "".join(any_character(rng) for _ in range(rng.randint(1, 6)))


def texts(count, seed):
    rng = random.Random(seed)
    made = ["", " ", "\n", "a", "\0", "é", "e\u0301", "   leading", "trailing   ", "\ufffe\uffff", "a" * 300]
    while len(made) < count:
        made.append("".join(piece(rng) for _ in range(rng.choice([1, 2, 3, 5, 8, 14]))))
    return made[:count]


def corpus():
    rng = random.Random(7)
    return ["".join(rng.choice(WORDS) + rng.choice([" ", " ", " ", "\n", ", ", "  "]) for _ in range(30))
            for _ in range(700)]


def special(*names):
    return [AddedToken(name, special=True, normalized=False) for name in names]


def byte_level_bpe(pre, normalizer=None, size=900, **model):
    tok = Tokenizer(models.BPE(**model))
    if normalizer is not None:
        tok.normalizer = normalizer
    tok.pre_tokenizer = pre
    tok.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, special_tokens=["<|endoftext|>"],
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tok.train_from_iterator(corpus(), trainer)
    return tok


def split_byte_level(*patterns, behavior="isolated"):
    steps = [pre_tokenizers.Split(Regex(p), behavior) for p in patterns]
    return pre_tokenizers.Sequence(steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def llama3():
    tok = byte_level_bpe(split_byte_level(LLAMA3))
    # Words that the merges would not reach, as Llama 3's ignore_merges finds them.
    data = json.loads(tok.to_str())
    data["model"]["ignore_merges"] = True
    for word in ["Ġstra\u00c3\u0141e", "camelCase", "ĠHTTPServer"]:
        data["model"]["vocab"].setdefault(word, len(data["model"]["vocab"]))
    tok = Tokenizer.from_str(json.dumps(data))
    tok.add_special_tokens(special("<|begin_of_text|>", "<|im_start|>", "<|im_end|>"))
    tok.add_tokens([AddedToken("<tool>", normalized=False), AddedToken("<think>", lstrip=True, rstrip=True),
                    AddedToken("wörd", single_word=True)])
    tok.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B",
                                      special_tokens=[("<|begin_of_text|>", tok.token_to_id("<|begin_of_text|>"))])])
    return tok


def qwen2():
    tok = byte_level_bpe(split_byte_level(QWEN2), normalizers.NFC())
    tok.add_special_tokens(special("<|im_start|>", "<|im_end|>"))
    tok.add_tokens(["Ünï", AddedToken("<think>", normalized=False)])
    return tok


def gpt2():
    tok = byte_level_bpe(pre_tokenizers.ByteLevel(add_prefix_space=True))
    tok.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tok


def falcon():
    return byte_level_bpe(pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=False),
        pre_tokenizers.Digits(False), pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")]))


def starcoder():
    return byte_level_bpe(pre_tokenizers.Sequence([pre_tokenizers.Digits(True),
                                                   pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def deepseek_coder():
    steps = [pre_tokenizers.Split(Regex(p), "isolated") for p in DEEPSEEK_CODER]
    steps.insert(3, pre_tokenizers.Split(Regex(r"\s+$"), "isolated"))
    return byte_level_bpe(pre_tokenizers.Sequence(
        steps + [pre_tokenizers.Digits(True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]))


def odd_patterns():
    split = pre_tokenizers.Split
    return byte_level_bpe(pre_tokenizers.Sequence([
        split(Regex(r"\b\w+\b"), "merged_with_next"), split(Regex(r"[[:punct:]]{2,}"), "merged_with_previous"),
        split(Regex(r"[^\W\d_]+|\h{4}"), "contiguous"), split(" ", "isolated"), split("--", "removed"),
        split(Regex(r"\p{Latin}+|\p{Hiragana}+|\p{Sm}"), "isolated", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]),
        normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"[\W&&[^\s]]{3,}"), "*"),
                              normalizers.Replace("", "") if False else normalizers.Strip(False, True)]))


def sentencepiece_bpe(normalizer, pre, decoder, prefix="▁"):
    tok = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    names = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(vocab_size=1300, show_progress=False, special_tokens=names,
                                                          limit_alphabet=150))
    data = json.loads(tok.to_str())
    data["added_tokens"] = [t for t in data["added_tokens"] if not t["content"].startswith("<0x")]
    data["pre_tokenizer"] = None
    tok = Tokenizer.from_str(json.dumps(data))
    tok.normalizer, tok.decoder = normalizer, decoder
    if pre is not None:
        tok.pre_tokenizer = pre
    tok.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B",
                                                       special_tokens=[("<s>", tok.token_to_id("<s>"))])
    tok.add_tokens([AddedToken("<tool>", normalized=True), AddedToken("wörd", normalized=False, rstrip=True)])
    return tok


def llama2():
    return sentencepiece_bpe(
        normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None,
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                           decoders.Strip(" ", 1, 0)]))


def gemma():
    return sentencepiece_bpe(
        normalizers.Replace(" ", "▁"), pre_tokenizers.Split(" ", "merged_with_previous"),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]))


def mistral():
    return sentencepiece_bpe(
        normalizers.Strip(True, False), pre_tokenizers.Metaspace(prepend_scheme="first", split=False),
        decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                           decoders.Strip(" ", 1, 0)]))


def charsmap(rules):
    """A precompiled character map of text -> text, in SentencePiece's form: a Darts double array and a pool."""
    pool, entries = b"", []
    for source, target in sorted(rules.items()):
        entries.append((source.encode(), len(pool)))
        pool += target.encode() + b"\0"
    size = 1 << 13
    label, offset, leaf, value = [None] * size, [0] * size, [False] * size, {}
    label[0] = 0

    def place(node, group, depth):
        children = sorted({key[depth] for key, _ in group if len(key) > depth})
        ends = [v for key, v in group if len(key) == depth]
        slots = ([0] if ends else []) + children
        base = next(b for b in range(1, size - 256) if all(label[b ^ c] is None for c in slots))
        offset[node] = node ^ base
        leaf[node] = bool(ends)
        for c in slots:
            label[base ^ c] = c
        if ends:
            value[base] = ends[0]
        for c in children:
            place(base ^ c, [(k, v) for k, v in group if len(k) > depth and k[depth] == c], depth + 1)

    place(0, entries, 0)
    units = []
    for i in range(size):
        if i in value:
            units.append(value[i] | 1 << 31)
        else:
            far = offset[i] >= 1 << 21
            units.append((0 if label[i] is None else label[i]) | leaf[i] << 8 |
                         (offset[i] >> 8 << 10 | 1 << 9 if far else offset[i] << 10))
    blob = struct.pack("<%dI" % size, *units)
    return base64.b64encode(struct.pack("<I", len(blob)) + blob + pool).decode()


def unigram(normalizer_json=None, byte_fallback=False, scheme="always"):
    tok = Tokenizer(models.Unigram())
    tok.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tok.decoder = decoders.Metaspace(prepend_scheme=scheme)
    tok.train_from_iterator(corpus(), trainers.UnigramTrainer(vocab_size=700, show_progress=False, unk_token="<unk>",
                                                              special_tokens=["<s>", "</s>", "<unk>"]))
    data = json.loads(tok.to_str())
    data["normalizer"] = normalizer_json
    vocab = data["model"]["vocab"]
    vocab.sort(key=lambda entry: (entry[0] not in ("<s>", "</s>", "<unk>"), -entry[1], entry[0]))
    data["model"]["unk_id"] = [entry[0] for entry in vocab].index("<unk>")
    if byte_fallback:
        vocab.extend(["<0x%02X>" % b, -20.0 - b / 256] for b in range(256))
        data["model"]["byte_fallback"] = True
        data["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "ByteFallback"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": True}]}
    for token in data["added_tokens"]:
        token["id"] = [entry[0] for entry in vocab].index(token["content"])
    tok = Tokenizer.from_str(json.dumps(data))
    tok.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>",
                                                       special_tokens=[("</s>", tok.token_to_id("</s>"))])
    return tok


def t5():
    rules = {"ﬁ": "fi", "ﬃ": "ffi", "½": "1⁄2", "²": "2", "Ａ": "A", "Ｂ": "B", "é": "é", "e\u0301": "é", "\t": " ",
             "\u3000": " ", "\u200b": "", "\u00a0": " ", "ﷺ": "صلى", "\r": "", "①": "1", "a\u0301": "á", "\u180e": " "}
    return unigram({"type": "Sequence", "normalizers": [
        {"type": "Precompiled", "precompiled_charsmap": charsmap(rules)},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}]})


def t5_bytes():
    return unigram({"type": "Nmt"}, byte_fallback=True, scheme="first")


def bert(cased=False):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    tok.normalizer = normalizers.BertNormalizer(lowercase=not cased)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.train_from_iterator(corpus(), trainers.WordPieceTrainer(
        vocab_size=800, show_progress=False, special_tokens=["[UNK]", "[CLS]", "[SEP]", "[MASK]"]))
    tok.decoder = decoders.WordPiece(cleanup=not cased)
    tok.post_processor = processors.BertProcessing(("[SEP]", tok.token_to_id("[SEP]")),
                                                   ("[CLS]", tok.token_to_id("[CLS]")))
    tok.add_tokens([AddedToken("Ünï", normalized=True), AddedToken("[MASK]", lstrip=True, special=True)])
    return tok


def word_level():
    tok = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tok.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(),
                                           normalizers.Replace(Regex(r"\d"), "#")])
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.train_from_iterator(corpus(), trainers.WordLevelTrainer(vocab_size=500, show_progress=False,
                                                                special_tokens=["[UNK]"]))
    return tok


def subwords():
    tok = Tokenizer(models.BPE(unk_token="[UNK]", continuing_subword_prefix="##", end_of_word_suffix="</w>"))
    tok.normalizer = normalizers.NFD()
    tok.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(),
                                                 pre_tokenizers.CharDelimiterSplit("q")])
    tok.train_from_iterator(corpus(), trainers.BpeTrainer(
        vocab_size=900, show_progress=False, special_tokens=["[UNK]"], continuing_subword_prefix="##",
        end_of_word_suffix="</w>", limit_alphabet=80))
    tok.decoder = decoders.BPEDecoder("</w>")
    return tok


BUILDERS = {
    "llama3": llama3, "qwen2": qwen2, "gpt2": gpt2, "falcon": falcon, "starcoder": starcoder,
    "o200k": lambda: byte_level_bpe(split_byte_level(O200K)),
    "cl100k_possessive": lambda: byte_level_bpe(split_byte_level(CL100K_POSSESSIVE)),
    "deepseek_v3": lambda: byte_level_bpe(split_byte_level(*DEEPSEEK_V3)),
    "deepseek_coder": deepseek_coder,
    "kimi_like": lambda: byte_level_bpe(split_byte_level(KIMI_LIKE)),
    "odd_patterns": odd_patterns, "llama2": llama2, "gemma": gemma, "mistral": mistral, "t5": t5, "t5_bytes": t5_bytes,
    "bert": bert, "bert_cased": lambda: bert(cased=True), "word_level": word_level, "subwords": subwords,
}


class Tool:
    """The C++ program, answering records."""

    def __init__(self, path, tokenizer_file):
        self.process = subprocess.Popen([path, tokenizer_file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def feed(self, records):
        def write():
            with self.process.stdin as pipe:
                for kind, data in records:
                    pipe.write(kind + struct.pack("<I", len(data)) + data)
        threading.Thread(target=write, daemon=True).start()

    def read(self, element_size):
        header = self.process.stdout.read(4)
        if len(header) < 4:
            raise RuntimeError("the tool ended early")
        count = struct.unpack("<I", header)[0]
        if count == 0xffffffff:
            return None
        return self.process.stdout.read(count * element_size)

    def read_ids(self):
        data = self.read(4)
        return None if data is None else list(struct.unpack("<%di" % (len(data) // 4), data))

    def read_text(self):
        return self.read(1).decode()


def compare(name, tok, tool_path, made, seed):
    rng = random.Random(seed + 1)
    size = tok.get_vocab_size()
    random_ids = [[rng.randrange(size + 3) for _ in range(rng.randint(0, 12))] for _ in range(len(made) // 8)]
    with tempfile.NamedTemporaryFile("w", suffix=".json", delete=False) as file:
        file.write(tok.to_str())
    tool = Tool(tool_path, file.name)
    tool.feed([(b"T", text.encode()) for text in made] +
              [(b"I", struct.pack("<%di" % len(ids), *ids)) for ids in random_ids])
    wanted = [e.ids for e in tok.encode_batch(made)]
    tok.encode_special_tokens = True
    wanted_plain = [e.ids for e in tok.encode_batch(made, add_special_tokens=False)]
    tok.encode_special_tokens = False
    bad = 0

    def check(what, source, expected, got):
        nonlocal bad
        if expected != got:
            bad += 1
            if bad <= 5:
                print(f"{name}: {what} of {source!r} ({ascii(source)}):\n  expected {expected!r}\n  got      {got!r}")

    for text, ids, plain in zip(made, wanted, wanted_plain):
        check("ids", text, ids, tool.read_ids())
        check("ids without special tokens", text, plain, tool.read_ids())
        check("decoding", text, tok.decode(ids), tool.read_text())
        check("decoding with special tokens", text, tok.decode(ids, skip_special_tokens=False), tool.read_text())
    for ids in random_ids:
        check("decoding", ids, tok.decode(ids), tool.read_text())
        check("decoding with special tokens", ids, tok.decode(ids, skip_special_tokens=False), tool.read_text())
    tool.process.wait()
    os.unlink(file.name)
    print(f"{name}: {len(made)} texts, {len(random_ids)} lists of ids, {bad} differences", flush=True)
    return bad


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tool", required=True, help="the program tokenize_lines")
    parser.add_argument("--count", type=int, default=20000, help="texts in all, shared out over the tokenizers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="names of tokenizers to compare, with commas between")
    parser.add_argument("files", nargs="*", help="tokenizer.json files to compare beside those built here")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}")
    cases = {os.path.basename(os.path.dirname(os.path.abspath(f))) or f: (lambda f=f: Tokenizer.from_file(f))
             for f in arguments.files}
    cases.update(BUILDERS)
    if arguments.only:
        cases = {name: cases[name] for name in arguments.only.split(",")}
    bad = 0
    for i, (name, build) in enumerate(cases.items()):
        made = texts(arguments.count // len(cases), arguments.seed * 1000 + i)
        bad += compare(name, build(), arguments.tool, made, arguments.seed)
    print(f"{bad} differences")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
