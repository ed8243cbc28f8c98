"""Tokenizers of the `tokenizers` package, trained on a short text, and what they make of some texts."""

import json
import re
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

CORPUS = [
    "Call me Ishmael. Some years ago - never mind how long precisely - having little or no money in my purse, "
    "and nothing particular to interest me on shore, I thought I would sail about a little and see the watery part of the world.",
    "It is a way I have of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about the mouth; "
    "whenever it is a damp, drizzly November in my soul; whenever I find myself involuntarily pausing before coffin warehouses.",
    "Whenever my hypos get such an upper hand of me, that it requires a strong moral principle to prevent me from deliberately stepping "
    "into the street, and methodically knocking people's hats off - then, I account it high time to get to sea as soon as I can.",
    "In 1851 there were 17,635 of them; in 1852, 18,000.  They're naïve, aren't they?  Größe, façade, coöperate, résumé.\n\n\tfunction f(x) {\n\t\treturn x + 1;\n\t}\n",
    "Привет, мир! 你好,世界。 こんにちは 🌊🐋 emoji and e\u0301 decomposed.",
]

TEXTS = [
    "",
    " ",
    "Hello",
    "Call me Ishmael.",
    "  two  spaces,   and more    ",
    "There were 17,635 whales in 1851!",
    "They're sure we'll say it isn't SO. I'D",
    "naïve façade Größe coöperate ÅÉÎ",
    "cafe\u0301 a\u0323\u0307 \u1e69 ﬁ ① ½ Ǆ İstanbul",
    "你好,世界。こんにちは Привет",
    "emoji 🌊🐋👩‍👩‍👧 and \u00a0 nbsp \u3000 wide",
    "tabs\tand\nnew\r\nlines\n\n\nend",
    "x\u0000y\u200bz\ufffd \u0085",
    "unknown: ₪ ਪੰ 𝔘𝔫𝔦 \u10ffff",
    "<s>special</s> [CLS] tokens <mask>  here[MASK]s and <|endoftext|>",
    "deliberately involuntarily methodically unbelievable",
    "a_b-c.d/e\\f@g#h$i%j^k&l*m(n)o+p=q~r`s|t<u>v",
]
PAIRS = [("Call me Ishmael.", "Some years ago"), ("It is a way I have of driving off the spleen", "sea"), ("", "sea")]


def units(text):
    """Number of UTF-16 units before each code point."""
    places = [0]
    for character in text:
        places.append(places[-1] + (2 if ord(character) > 0xFFFF else 1))
    return places


def record(encoding, texts):
    maps = [units(t) for t in texts]
    offsets = []
    for (start, end), sequence in zip(encoding.offsets, encoding.sequence_ids):
        places = maps[sequence or 0]
        offsets += [places[start], places[end]] if sequence is not None else [start, end]
    out = {
        "ids": encoding.ids,
        "tokens": encoding.tokens,
        "offsets": offsets,
        "typeIds": encoding.type_ids,
        "attention": encoding.attention_mask,
        "special": encoding.special_tokens_mask,
        "words": [-1 if w is None else w for w in encoding.word_ids],
    }
    parts = {json.dumps(part): part for part in overflow(encoding, texts)}
    if parts:
        # For pairs every combination once; the package repeats them at several depths.
        out["overflowing"] = sorted(parts.values(), key=lambda part: part["ids"]) if len(texts) > 1 else list(parts.values())
    return out


def overflow(encoding, texts):
    for e in encoding.overflowing:
        part = record(e, texts)
        deeper = part.pop("overflowing", [])
        yield part
        yield from deeper


def train(tokenizer, trainer):
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


QUIET = {"show_progress": False}
BYTES = pre_tokenizers.ByteLevel.alphabet()
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gpt2():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.ByteLevel(trim_offsets=True)
    return train(t, trainers.BpeTrainer(vocab_size=420, special_tokens=["<|endoftext|>"], initial_alphabet=BYTES, **QUIET))


def llama3():
    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    t.decoder = decoders.ByteLevel()
    train(t, trainers.BpeTrainer(vocab_size=360, special_tokens=["<|begin|>"], initial_alphabet=BYTES, **QUIET))
    t.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single="<|begin|> $A", pair="<|begin|> $A <|begin|>:1 $B:1", special_tokens=[("<|begin|>", t.token_to_id("<|begin|>"))]
            ),
        ]
    )
    return t


def roberta():
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    train(t, trainers.BpeTrainer(vocab_size=340, special_tokens=["<s>", "</s>", "<pad>"], initial_alphabet=BYTES, **QUIET))
    t.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, normalized=False)])
    t.add_tokens([tokenizers.AddedToken("special", single_word=True), tokenizers.AddedToken("here", rstrip=True)])
    t.post_processor = processors.RobertaProcessing(("</s>", 1), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    return t


def llama2():
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)]
    train(t, trainers.BpeTrainer(vocab_size=400, special_tokens=special, max_token_length=6, **QUIET))
    data = json.loads(t.to_str())
    data["added_tokens"] = [e for e in data["added_tokens"] if not e["content"].startswith("<0x")]
    t = Tokenizer.from_str(json.dumps(data))
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return t


def word_pieces():
    """The trainer of the package numbers characters at random; here beginnings and ends of the words of the corpus, in order."""
    words = sorted({w for line in CORPUS for w in re.findall(r"[a-z]+|[^\sa-z]", line.lower())})
    characters = sorted({c for w in words for c in w})
    ends = sorted({w[i:] for w in words for i in range(1, len(w)) if len(w) - i < 4 and len(w) > 4})
    starts = sorted({w[:4] for w in words if len(w) > 3})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *characters, *["##" + c for c in characters]]
    tokens += starts[::2] + ["##" + e for e in ends[::2] if len(e) > 1]
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def bert():
    t = Tokenizer(models.WordPiece(word_pieces(), unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer = normalizers.BertNormalizer()
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return t


def bert_truncated():
    t = bert()
    t.enable_truncation(8, stride=1)
    t.enable_padding(pad_id=0, pad_token="[PAD]", length=10)
    return t


def bert_left():
    t = bert()
    t.normalizer = normalizers.BertNormalizer(lowercase=False, strip_accents=True)
    t.enable_truncation(12, stride=1, direction="left")
    t.enable_padding(pad_id=0, pad_token="[PAD]", direction="left", pad_to_multiple_of=4)
    return t


def likely_pieces():
    """Pieces of the words of the corpus with log probabilities by their counts (the package's trainer is not the same on every run)."""
    counts = {}
    for line in CORPUS[:4]:
        for word in re.findall(r"\S+", line):
            marked = "▁" + word
            for start in range(len(marked)):
                for end in range(start + 1, min(len(marked), start + 6) + 1):
                    piece = marked[start:end]
                    counts[piece] = counts.get(piece, 0) + (end - start) ** 2
    kept = sorted((p for p, n in counts.items() if n > 40 or (len(p) == 1 and n > 1)), key=lambda p: (-counts[p], p))[:180]
    total = sum(counts.values())
    return [("<unk>", 0.0), ("<s>", 0.0), ("</s>", 0.0)] + [(p, round(float(np.log(counts[p] / total)), 4)) for p in kept]


def unigram():
    t = Tokenizer(models.Unigram(likely_pieces(), 0, False))
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    t.decoder = decoders.Metaspace()
    t.add_special_tokens(["<unk>", "<s>", "</s>"])
    t.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B:0 </s>", special_tokens=[("</s>", t.token_to_id("</s>"))]
    )
    return t


def word_level():
    t = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    t.normalizer = normalizers.Sequence(
        [normalizers.NFD(), normalizers.Lowercase(), normalizers.StripAccents(), normalizers.Strip(), normalizers.Nmt()]
    )
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    train(t, trainers.WordLevelTrainer(vocab_size=100, min_frequency=1, special_tokens=["[UNK]", "[CLS]"], **QUIET))
    return t


def marked_merges(count):
    """Byte-pair encoding of words whose last character is marked; ties go to the pair that comes first in the alphabet."""
    words = [list(w[:-1]) + [w[-1] + "</w>"] for line in CORPUS[:4] for w in unicodedata.normalize("NFKD", line).split()]
    vocabulary = {"<unk>": 0}
    for symbol in sorted({s for w in words for s in w}):
        vocabulary[symbol] = len(vocabulary)
    merges = []
    for _ in range(count):
        pairs = {}
        for w in words:
            for pair in zip(w, w[1:]):
                pairs[pair] = pairs.get(pair, 0) + 1
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        vocabulary.setdefault("".join(best), len(vocabulary))
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i : i + 2] = ["".join(best)]
                i += 1
    return vocabulary, merges


def suffix():
    t = Tokenizer(models.BPE(*marked_merges(120), unk_token="<unk>", end_of_word_suffix="</w>", fuse_unk=True))
    t.normalizer = normalizers.NFKD()
    t.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    t.decoder = decoders.BPEDecoder()
    t.add_special_tokens(["<unk>"])
    return t


def odd_regex():
    t = Tokenizer(models.BPE(unk_token="?"))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"(?<=\w)-(?=\w)"), "~")])
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[[:upper:]&&[^I]]?+(?>[a-zà-ÿ]+)|\d{1,2}(?!\d)|(?i:THE)\b|[\p{Han}\p{Hiragana}]{1,2}?"), "isolated"),
            pre_tokenizers.Split("e", "merged_with_previous"),
        ]
    )
    t.decoder = decoders.Sequence([decoders.Replace(Regex("~+"), "-"), decoders.Fuse()])
    return train(t, trainers.BpeTrainer(vocab_size=150, special_tokens=["?"], **QUIET))


CONFIGURATIONS = [gpt2, llama3, roberta, llama2, bert, bert_truncated, bert_left, unigram, word_level, suffix, odd_regex]

NORMALIZERS = [
    normalizers.NFC(),
    normalizers.NFD(),
    normalizers.NFKC(),
    normalizers.NFKD(),
    normalizers.Lowercase(),
    normalizers.StripAccents(),
    normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]),
    normalizers.Nmt(),
    normalizers.Strip(left=False, right=True),
    normalizers.Prepend("__"),
    normalizers.BertNormalizer(),
    normalizers.BertNormalizer(clean_text=False, handle_chinese_chars=False, lowercase=False),
    normalizers.Replace("e", ""),
    normalizers.Replace(Regex(r"\s+"), "_"),
    normalizers.Replace(Regex(r"(a|e|i)+n*?"), "<>"),
    normalizers.ByteLevel(),
]

PRE_TOKENIZERS = [
    pre_tokenizers.ByteLevel(add_prefix_space=False),
    pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
    pre_tokenizers.Whitespace(),
    pre_tokenizers.WhitespaceSplit(),
    pre_tokenizers.BertPreTokenizer(),
    pre_tokenizers.Metaspace(),
    pre_tokenizers.Metaspace(replacement="_", prepend_scheme="never", split=False),
    pre_tokenizers.Punctuation(),
    pre_tokenizers.Punctuation("contiguous"),
    pre_tokenizers.Digits(),
    pre_tokenizers.Digits(individual_digits=True),
    pre_tokenizers.CharDelimiterSplit("a"),
    pre_tokenizers.FixedLength(3),
    pre_tokenizers.Split(Regex(LLAMA3), "isolated"),
    pre_tokenizers.Split(Regex(LLAMA3 + "|(?:)x"), "removed", invert=True),
]
PRE_TOKENIZERS += [
    pre_tokenizers.Split(pattern, behavior, invert=inverted)
    for behavior in ("removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous")
    for pattern, inverted in ((" ", False), (Regex(r"[aeiou]{1,2}|\p{Lu}"), False), (Regex(r"\w+"), True))
]

DECODERS = [
    (decoders.ByteLevel(), ["Ġhe", "llo", "Ã", "©", "🌊", "ð", "Ł"]),
    (decoders.WordPiece(), ["un", "##want", "##ed", "do", "not", "is", "n't", ".", "##"]),
    (decoders.WordPiece(prefix="@@", cleanup=False), ["a", "@@b", "c", "."]),
    (decoders.Metaspace(), ["▁Hey", "▁my▁", "friend"]),
    (decoders.Metaspace(prepend_scheme="never"), ["▁Hey", "▁my▁", "friend"]),
    (decoders.BPEDecoder(), ["hel", "lo</w>", "you</w>"]),
    (decoders.ByteFallback(), ["a", "<0xE2>", "<0x82>", "<0xAC>", "b", "<0xE2>", "<0x82>", "c", "<0xFF>"]),
    (decoders.Sequence([decoders.Replace("_", " "), decoders.Fuse(), decoders.Strip(" ", 1, 2)]), ["__a", "_b", "___"]),
    (decoders.CTC(), ["<pad>", "h", "h", "e", "l", "<pad>", "l", "o", "|", "|", ".", "<pad>"]),
]


def spec(component):
    return json.loads(component.__getstate__())


class Text:
    name = "text"

    def write(self, folder):
        cases = 0
        tokenizer_cases = []
        for make in CONFIGURATIONS:
            t = make()
            encodings = [{"text": s, "expected": record(t.encode(s), [s])} for s in TEXTS if make is not bert_truncated or s.strip()]
            encodings += [{"text": a, "pair": b, "expected": record(t.encode(a, b), [a, b])} for a, b in PAIRS]
            for e in encodings:
                ids = e["expected"]["ids"]
                e["decoded"] = t.decode(ids)
                e["decodedAll"] = t.decode(ids, skip_special_tokens=False)
            cases += len(encodings)
            data = json.loads(t.to_str())
            tokenizer_cases.append({"name": make.__name__, "json": data, "encodings": encodings})
        parts = {
            "normalizers": [{"spec": spec(n), "outputs": [n.normalize_str(s) for s in TEXTS]} for n in NORMALIZERS],
            "preTokenizers": [
                {
                    "spec": spec(p),
                    "outputs": [
                        [[piece, units(s)[a], units(s)[b]] for piece, (a, b) in p.pre_tokenize_str(s)] for s in TEXTS
                    ],
                }
                for p in PRE_TOKENIZERS
            ],
            "decoders": [{"spec": spec(d), "tokens": tokens, "output": d.decode(tokens)} for d, tokens in DECODERS],
            "precompiled": precompiled(),
        }
        cases += sum(len(p["outputs"]) for key in ("normalizers", "preTokenizers") for p in parts[key])
        head = {"family": "text", "reference": f"tokenizers {tokenizers.__version__}", "corpus": CORPUS, "texts": TEXTS}
        size = 0
        for name, body in (("text-tokenizers", {**head, "tokenizers": tokenizer_cases}), ("text-parts", {**head, **parts})):
            text = json.dumps(body, ensure_ascii=True, separators=(",", ":"))
            text = re.sub(r'(\{"(?:name|text|spec)":)', r"\n\1", text) + "\n"
            (folder / f"{name}.json").write_text(text)
            size += len(text)
        return cases, size


def precompiled():
    """A character map as SentencePiece writes it, of a few rules of our own."""
    import sentencepiece

    rules = {"\u2460": "1", "\ufb01": "fi", "\u00bd": "1/2", "e\u0301": "\u00e9", "\u200b": "", "\u3000": " ", "\U0001d518": "U", "\u00c5": "a"}
    with tempfile.TemporaryDirectory() as folder:
        tsv = Path(folder) / "rules.tsv"
        hexed = lambda s: " ".join(f"{ord(c):X}" for c in s)
        tsv.write_text("".join(f"{hexed(k)}\t{hexed(v)}\n" for k, v in rules.items()))
        corpus = Path(folder) / "corpus.txt"
        corpus.write_text("\n".join(CORPUS))
        sentencepiece.SentencePieceTrainer.train(
            input=str(corpus), model_prefix=f"{folder}/m", vocab_size=180, normalization_rule_tsv=str(tsv), minloglevel=2
        )
        model = Path(f"{folder}/m.model").read_bytes()
    charsmap = field(field(model, 3), 2)
    normalizer = normalizers.Precompiled(charsmap)
    t = Tokenizer(models.BPE())
    t.normalizer = normalizer
    return {"spec": spec(normalizer), "outputs": [normalizer.normalize_str(s) for s in TEXTS]}


def field(message, wanted):
    """The last field `wanted` of a protocol buffer message, of kind length-delimited."""

    def varint(at):
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value, at

    at = 0
    found = b""
    while at < len(message):
        tag, at = varint(at)
        if tag & 7 == 2:
            length, at = varint(at)
            if tag >> 3 == wanted:
                found = message[at : at + length]
            at += length
        elif tag & 7 == 0:
            _, at = varint(at)
        else:
            at += 4 if tag & 7 == 5 else 8
    return found


def text():
    return Text()


FAMILIES = [text]
