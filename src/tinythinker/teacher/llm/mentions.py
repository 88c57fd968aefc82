"""A text as sentences of tokens, in which every mention of an option is one token, however the option is named."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from tinythinker.core.records import LABELS, Question
from tinythinker.teacher.llm.lexicon import BEFORE_OPTION, CLASSES, NAMES

_LEXICON = {word.replace("_", " "): kind for kind, words in CLASSES.items() for word in words.split()}
_PHRASES = "|".join(sorted((re.escape(one) for one in _LEXICON if " " in one), key=len, reverse=True))
_NOUNS = r"(?:options?|answers?|choices?|alternatives?|statements?|ones?)"
_ARE = r"(?:is|are|was|were)\b"
_GROUP = re.compile(
    rf"""\b(?:
        (?P<one>(?<!not\ )one\ of\ (?:the|these)(?:\ (?:two|three|four|five|given|listed))?\ {_NOUNS})
        |(?:the|these)\ {_NOUNS}(?=\ are\ (?:all|both)\b)
        |(?P<pair>both|neither)(?=\ {_ARE})
        |(?P<many>two|three|several|multiple|more\ than\ one|at\ least\ two)
            (?:\ of\ (?:the|these))?(?:\ other)?\ {_NOUNS}
        |(?P<how>none|not\ one|not\ a\ single|no|all|both|each|every|any|neither|(?:every|no)thing)(?:
            (?:\ one|\ single)*(?:\ of)?(?:\ (?:the|these|those))?(?:\ (?:two|three|four|five|given|listed))?
            (?P<other>\ (?:other|remaining))?(?:\ (?:given|listed))?(?:\ {_NOUNS}|\ above)
            (?:\ (?:above|given|listed|here))?
            |\ of\ (?:these|those|them)
            |(?<=none)(?=\ {_ARE})|(?<=thing)(?=\ (?:{_ARE}|fits\b|works\b|applies\b))|(?<=all)(?=\ are\b)
            |(?:(?<=all)|(?<=none)|(?<=thing))(?=\ (?:but|except|other\ than|apart\ from|besides)\b)
        )
        |(?P<rest>the\ (?:(?:two|three|four)\ )?(?:others|rest|(?:other|remaining)\ (?:(?:two|three|four)\ )?{_NOUNS}))
    )(?!\w)""",
    re.I | re.X,
)
_GROUPS = dict(
    zip(
        "\ue200\ue201\ue202\ue203\ue204\ue205\ue206",
        ("all", "many", "rest", "none", "no other", "both", "neither"),
        strict=True,
    )
)
_NONE = frozenset("none no neither nothing".split()) | {"not one", "not a single"}
_TOKEN = re.compile(
    rf"[\ue000-\uf8ff]|\b(?:{_PHRASES})\b|[(\[\"']{{0,3}}[A-Za-z](?!\w|['.-]\w)[)\]\"']*|\w+(?:['-]\w+)*|"
    r"(?P<end>[.!?\n]+(?=[\s)\"']|$))|(?P<sign>[:=>]+|-+>?)|[,;&/()\[\]]",
    re.I,
)
_BEFORE_LABEL = frozenset(
    "option options answer answers choice choices alternative letter label number statement item".split()
)
_ORDINAL = "first|second|third|fourth|fifth|sixth|seventh|eighth|last"
_ORDINALS = {word: i for i, word in enumerate(_ORDINAL.split("|")[:-1])}
_ORDINALS |= {word: i for i, word in enumerate("1st 2nd 3rd 4th 5th 6th 7th 8th".split())}
_NUMBERS = {word: i for i, word in enumerate("one two three four five six seven eight".split())}
_NUMBERS |= {str(i + 1): i for i in range(len(LABELS))}
_COMMON = frozenset("yes none all there they not much more less up down in on out off".split())
"""Option texts that stand in any sentence; like the words of `CLASSES`, they count only where an answer is due."""
_AFTER_LABEL = re.compile(r"[.?,:bmuhS&kBnzlIFKHsVfrX)P]|v[bmuhFVJ.,]|[+-][.]")
"""What may follow an "A" that is a label; the article goes with a noun."""
_DUE = re.compile(r"(?:[AO+]v?z?(?:[be:]|[mu]n?e)v{0,2}n?v{0,2}:?|i[mu]?[crA])d?$")
"""Where an answer is due: "the answer is ..."."""
_ASIDE = re.compile(
    r"(?<=[LT]),?[&kB]?[nI]q?d?[LTG](?:[,&]{1,2}[dq]?[LTG]){0,25}+,?(?=[.?,bmuhkBP])"
    r"|(?<![LTG])n[LTG](?:[,&]{1,2}[dq]{0,2}[LTG]){0,25}+,?B(?=d?[LTG])"
)
"""An option mentioned to be ruled out: "B, not A"; "not A but B"."""
_LONGEST = 120
"""Tokens of a sentence; a longer one is cut, so that judging takes linear time."""


class Token(NamedTuple):
    """A word, a sign, or a mention of options."""

    kind: str
    """Its class; L for an option by its label, T by its text, G for a group of options, w for a word of no class."""
    word: str
    of: str = ""
    """For L and T the option's label; for G `all`, `many`, `rest` (all but the answer), `none` or `no other`."""


def plain(text: str) -> str:
    """The text without markup, with plain signs and full forms, for judging only."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if _MARKUP.search(text):
        text = re.sub(r"[\ue000-\uf8ff]|</?[a-z]{1,10}>", "", text.translate(_SIGNS))
        text = re.sub(r"\\[a-zA-Z]{1,12} ?\{|\\[()\[\]]|[{}\\]", " ", text)
    for sign, pattern, full in _FULL_FORMS:
        if sign in text:
            text = pattern.sub(full, text)
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


_SEEKS = (  # "what the question asks for": the answer
    r"(?:(?:is|was) (?:really |being )?(?:asked|wanted|sought|looked)"
    r"|(?:the|this) question (?:really |actually )?"
    r"(?:asks|is asking|wants|is looking|seeks|needs|requires|is after|calls)"
    r"|(?:we|you|i|they) (?:really |actually )?(?:are looking|are asked|need|want|seek|are after))(?: for)?(?!\w)"
)
_MEETS = (  # "answers the question": fits
    r"(?:answer|fit|match(?:e)?|satisf(?:y|ie)|meet|suit|address(?:e)?|fulfill?|tick|check)s? "
    r"(?:best )?(?:all )?(?:of )?"
    r"(?:the|this|that|these|every|each|our|any) (?:\w+ )?"
    r"(?:questions?|descriptions?|conditions?|criteri(?:on|a)|requirements?|stem|clues?|prompt|bill|box(?:es)?)(?!\w)"
)
_MARKUP = re.compile(r"[^\x00-\x7f]|[`*~#_$|\\<>{}]")
_SIGNS = str.maketrans(
    dict.fromkeys("‘’‚‛′`´", "'")
    | dict.fromkeys("“”„‟″«»‹›「」『』", '"')
    | dict.fromkeys("‐‑−", "-")
    | dict.fromkeys("–—―", " - ")
    | dict.fromkeys("✓✔✅☑", " correct ")
    | dict.fromkeys("✗✘❌✖☒", " incorrect ")
    | dict.fromkeys("→⇒➡➔⟹⟶", " -> ")
    | dict.fromkeys("*~", "")
    | dict.fromkeys("#_$|", " ")
    | {"。": ". "}
)
_FULL_FORMS = tuple(
    (sign, re.compile(pattern, re.I), full)
    for sign, pattern, full in (
        ("cannot", r"\bcannot\b", "can not"),
        ("'", r"\bcan't\b", "can not"),
        ("'", r"\bwon't\b", "will not"),
        ("'", r"\bain't\b", "is not"),
        ("'", r"n't\b", " not"),
        ("'", r"\b(it|that|this|answer|there|what|here)'s\b", r"\1 is"),
        ("'", r"(?<=\w)'d\b", " would"),
        ("'", r"(?<=\w)'m\b", " am"),
        ("'", r"(?<=\w)'ll\b", " will"),
        ("'", r"(?<=\w)'re\b", " are"),
        ("'", r"\blet's\b", "let us"),
        ("'", r"\b([A-Z])'s(?= (?:the|not|correct|wrong|right|incorrect|my|our|it|clearly|definitely)\b)", r"\1 is"),
        (". ", r"\bno\. (?=\d)", "number "),
        (".", r"\bno\.(?=\d)", "number "),
        (" of ", rf"\b({_ORDINAL}) of (?:the|these) {_NOUNS}\b", r"\1 option"),
        ("-", r"\b(option|choice|answer)-(?=[A-Z]\b)", r"\1 "),
        (" ", rf"\b(?:what|(?:{_NOUNS}|thing)(?: that| which)?) {_SEEKS}", "answer"),
        (" ", rf"\b{_MEETS}", "fits"),
        (" out", r"\b(rule|cross)(s|es|ed)? (this|that|it)( option| choice| answer)? out\b", r"\1\2 out \3\4"),
        (
            " of ",
            rf"\b(best|worst|(?:most|least) \w+) (?:one )?of (?:all )?(?:of )?(?:the|these) (?:\w+ )?{_NOUNS}",
            r"\1 option",
        ),
        (" )", r"([(\[]) ([A-Za-z]) ([)\]])", r"\1\2\3"),
        (" ]", r"([(\[]) ([A-Za-z]) ([)\]])", r"\1\2\3"),
    )
)
"""A sign that must be in the text, what is replaced, and by what."""


def sentences(text: str, question: Question) -> Iterator[list[Token]]:
    """The sentences of a `plain` text, each ending in "." or "?", without options that are only ruled out."""
    sentence: list[Token] = []
    for token in (*_tokens(_marked(text, question), question), Token(".", ".")):
        sentence.append(token)
        if token.kind in ".?" or len(sentence) == _LONGEST:
            kinds = "".join(one.kind for one in sentence)
            for found in reversed(list(_ASIDE.finditer(kinds))):
                del sentence[found.start() : found.end()]
            if len(sentence) > 1:
                yield sentence
            sentence = []


class _Texts(NamedTuple):
    """How the texts of a question's options are found."""

    pattern: re.Pattern[str] | None
    labels: dict[str, str]
    """By text, in plain signs and small letters."""


@lru_cache(maxsize=512)
def _texts(question: Question) -> _Texts:
    labels: dict[str, str] = {}
    for option in question.options:
        labels.setdefault(plain(option.text).strip(" .").casefold(), option.label)
    found = [text for text in labels if len(text) > 1 and not all(w in _LEXICON or w in _COMMON for w in text.split())]
    words = "|".join(re.escape(text) for text in sorted(found, key=len, reverse=True))
    words += "|" * bool(words) + "|".join(
        rf'(?<=["\'])(?:{re.escape(text)})(?=[.,]?["\'])' for text in labels if len(text) > 1
    )
    return _Texts(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.I) if words else None, labels)


def _marked(text: str, question: Question) -> str:
    """The text with every group of options, and every option named by its text, as one character."""
    texts = _texts(question)

    def group(found: re.Match[str]) -> str:
        label = texts.labels.get(found[0].casefold())
        if label:
            return f" {_mark(label)} "
        if found["one"]:
            return "one"
        is_none = (found["pair"] or found["how"] or "").lower() in _NONE
        if found["pair"]:
            group = "neither" if is_none else "both"
        elif found["many"] or found["rest"] or (found["other"] and not is_none):
            group = "many" if found["many"] else "rest"
        elif is_none:
            group = "no other" if found["other"] else "none"
        else:
            group = "all"
        return f" {_SIGN_OF[group]} "

    text = _GROUP.sub(group, text)
    if texts.pattern is None:
        return text
    return texts.pattern.sub(lambda found: f" {_mark(texts.labels[found[0].casefold()])} ", text)


_SIGN_OF = {group: sign for sign, group in _GROUPS.items()}


def _mark(label: str) -> str:
    return chr(0xE100 + LABELS.index(label))


def _tokens(marked: str, question: Question) -> list[Token]:
    """The text as tokens; labels are told from the article "a" and from names such as "vitamin C"."""
    raw = [_raw(match) for match in _TOKEN.finditer(marked)]
    ends = [Token(".", ".")] * 2
    kinds = [token.kind for token in (*raw, *ends)]
    tokens: list[Token] = []
    for i, token in enumerate(raw):
        if token.kind not in "TG.?,:":
            before = tokens[-1] if tokens else ends[0]
            token = _named(token, before, kinds[i + 1] + kinds[i + 2], "".join(kinds[max(0, i - 12) : i]), question)
            kinds[i] = token.kind
        tokens.append(token)
    return _joined(tokens)


def _named(token: Token, before: Token, ahead: str, behind: str, question: Question) -> Token:
    """A word as a mention of an option, if it is one; `ahead` and `behind` are the classes around it."""
    word, labels = token.word.strip("()[]\"'").lower(), question.labels
    is_due = _DUE.search(behind) is not None or (before.kind in ".lB" and re.match("b[d+-]", ahead) is not None)
    if len(word) == 1 and word.isascii() and word.isalpha():
        return Token("L", token.word, word.upper()) if _is_label(token.word, before, ahead, is_due) else token
    number = _NUMBERS.get(word, len(labels))
    if number < len(labels) and before.word in _BEFORE_LABEL and ahead[0] != "O":
        return Token("L", word, labels[number])
    if is_due and ahead[0] in ".?,:kBb" and word in (texts := _texts(question).labels):
        return Token("T", word, texts[word])
    if before.kind == "y":  # "my first choice"
        return token
    place = len(labels) - 1 if word == "last" else _ORDINALS.get(word, len(labels))
    if place < len(labels) and (ahead[0] == "O" or (ahead[0] == "A" and word != "last")):
        return Token("L", word, labels[place])
    return token


def _joined(tokens: Sequence[Token]) -> list[Token]:
    """The tokens with every mention in several words as one: "option B", "the first option", "B. tree"."""
    joined: list[Token] = []
    for token in tokens:
        tail = "".join(one.kind for one in joined[-3:])
        if token.kind == "T" and (found := re.search("L[,:.]?d?$", tail)):
            at = len(joined) - len(found[0])
            if joined[at].of == token.of:
                del joined[at + 1 :]
                continue
        elif token.kind == "L" and joined and joined[-1].word in _BEFORE_LABEL and not tail.endswith("iA"):
            joined.pop()
        elif token.kind in "OA" and tail.endswith("L") and (joined[-1].word in _ORDINALS or joined[-1].word == "last"):
            continue
        joined.append(token)
    return joined


def _raw(match: re.Match[str]) -> Token:
    """A token, apart from labels."""
    word = match[0].lower()
    if match["end"]:
        return Token("?" if "?" in word else ".", word)
    if match["sign"]:
        return Token(":", word)
    if word in _GROUPS:
        return Token("G", word, _GROUPS[word])
    if "\ue100" <= word <= "\ue119":
        return Token("T", word, LABELS[ord(word) - 0xE100])
    if word in '()[],"':
        return Token(",", word)
    kind = _LEXICON.get(word) or ("v" if word.endswith("ly") else "w")
    return Token(kind, match[0] if len(word.strip("()[]\"'")) == 1 else word)


def _may_precede(word: str) -> bool:
    """May a capital letter after this word of no class be an option, and no name such as "bus C"?"""
    return word in BEFORE_OPTION or word in _BEFORE_LABEL or word.endswith(("ing", "ed", "s"))


def _is_label(word: str, before: Token, ahead: str, is_due: bool) -> bool:
    """Is a single letter the label of an option here?"""
    letter = word.strip("()[]\"'")
    if before.word in NAMES or (before.kind == "w" and before.word.isalpha() and not _may_precede(before.word)):
        return False
    if len(word) > len(letter) + 1:
        return True
    is_due = is_due or before.kind in "OA"
    can_end = _AFTER_LABEL.match(ahead) is not None
    if letter.islower():
        is_alone = before.kind == "b" and letter not in "ai" and ahead[0] == "."  # "it is c."
        is_subject = before.kind in ".?lBk,&" and ahead[0] == "b"
        return len(word) > 1 or (is_due and can_end) or is_alone or is_subject
    if letter == "I":
        return is_due and ahead[0] in ".?,"
    if letter == "A":
        return can_end or (before.kind not in ".?" and not before.word.isupper())
    return True
