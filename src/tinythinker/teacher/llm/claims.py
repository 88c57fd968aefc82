"""What a text claims about the options of a question: which one is the answer, which are correct or incorrect.

Words become tokens of a few classes, one character each; an option is a token however it is named (label, text, "the
first option"). A claim is a sentence of a known shape over these classes: "B is not the right answer", "the answer must
be B", "I would pick B". Suppositions, reported beliefs, questions and mere mentions are no claims.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from tinythinker.core.records import LABELS, Question

_CLASSES = {
    "b": "is was are were am remains remain becomes become 'turns out' 'turned out' 'proves'",
    "e": "be been 'have been' 'to be' 'to have been'",
    "h": "has have had ought needs got",
    "m": "must should would will shall does do did",
    "u": "can could might may perhaps maybe possibly",
    "n": "not never 'no longer' hardly 'far from' 'anything but' 'by no means' 'in no way'",
    "I": "'instead of' 'rather than' 'as opposed to' 'in place of' over except besides save excluding 'other than' "
    "'apart from' 'except for'",
    "+": "correct right true accurate valid proper appropriate suitable acceptable best fitting 'spot on' 'on the mark' ideal "
    "perfect preferable 'the way to go'",
    "-": "incorrect wrong false mistaken inaccurate invalid untrue erroneous inappropriate unsuitable worst flawed misleading "
    "impossible nonsense absurd unlikely implausible 'off the mark' 'out of the question' 'a distractor' 'a trap' 'a mistake' "
    "'an error' 'a misprint'",
    "C": "chosen selected preferred",
    "X": "'ruled out' excluded eliminated rejected discarded dismissed mistake mistakenly wrongly incorrectly erroneously out",
    "R": "'rule out' 'rules out' exclude eliminate reject discard dismiss 'cross out'",
    "A": "answer answers ans",
    "O": "solution solutions option options choice choices one ones alternative alternatives selection response conclusion match "
    "fit bet candidate guess label letter verdict",
    "y": "my our your final intended expected",
    "d": "the a an its another",
    "v": "also indeed then still even just only single sole real actual most very other obvious clear now always again both "
    "'of course' 'in fact' 'by far' 'after all' 'in the end' 'without doubt' 'without a doubt' 'of these' all each here too "
    "instead 'no doubt' hence thus therefore ultimately however alone 'for sure' 'as well' logical likely plausible sensible "
    "reasonable natural strongest",
    "&": "and or nor & / 'as well as' plus",
    "q": "neither",
    "E": "either whichever",
    "P": "it this that which",
    "i": "i we 'let us'",
    "c": "choose chose choosing pick picked picking select selecting 'go with' 'go for' 'going with' 'going for' 'went with' "
    "'opt for' 'opted for' 'settle on' 'settle for' 'vote for' mark tick 'stick with' 'answer with' mean meant 'bet on' "
    "'leaning towards' 'lean towards' 'leaning toward' 'lean toward' 'switch to' 'change to'",
    "J": "leaves 'leads to' 'points to' 'point to' 'left with' 'arrive at' 'leaving' 'falls on' 'goes to' 'end up with' says",
    "K": "makes make making made renders",
    "F": "'answers the question' 'answers this question' 'answer the question' 'fits the question' 'fit the question' 'fits best' "
    "'works best' 'suits best' 'fits the description' 'makes the most sense' 'makes most sense' 'fits better' 'works better' "
    "'makes more sense' wins works work fits fit applies apply 'makes sense' 'make sense' qualifies "
    "'what the question asks for' 'what the question is asking for' 'what we are looking for' 'what we want'",
    "V": "beats trumps outperforms",
    "f": "fails 'makes no sense' 'does nothing'",
    "H": "better 'more correct' 'more accurate' 'more suitable' 'more appropriate' 'more likely' 'more plausible' closer",
    "s": "if unless suppose supposing assuming imagine whether where when whenever until 'in which' 'as if' 'as though'",
    "r": "think thinks thinking thought believe believes believed believing say said saying claim claims claimed argue argues "
    "argued assume assumes assumed seem seems seemed appear appears appeared look looks looked sound sounds guess guesses "
    "guessed expect expects expected tempted tempting confused pretend pretends impression feel feels "
    "consider considers conclude concludes suppose supposes tell tells told insist insists suspect suspects hope hopes wish "
    "ask asks asked find finds know sure inclined convinced certain confident like",
    "p": "people many some students student child children often commonly popular everybody everyone someone somebody whoever "
    "reader readers pupils",
    "x": "'not true that' 'not the case that' 'no way' untrue doubt doubtful 'wrong to say' 'wrong to think' 'incorrect to say' "
    "'false that' 'not mean' 'not possible that' 'a mistake to think' 'a mistake to say' disagree 'a lie' 'a myth'",
    "k": "because since as while whereas given though although despite due",
    "B": "but however yet so nevertheless ; ergo",
    "z": "overall among according based by than 'for this' 'for the' 'in this' 'to this' 'to the' 'on this' 'of the' 'of all' "
    "'for our' 'in our'",
    "l": "wait no actually sorry correction finally conclusion ok okay hmm hm oh result 'in conclusion' 'in short' 'in "
    "summary' 'to sum up' 'on second thought' 'i mean' please oops apologies rather 'never mind' 'my mistake' yes yeah nope edit "
    "update 'let me correct myself' 'hold on' key",
}
"""Classes of words and phrases; a word of two classes has the last one."""


def _lexicon() -> dict[str, str]:
    words = {}
    for kind, listed in _CLASSES.items():
        for phrase, word in re.findall(r"'([^']+)'|(\S+)", listed):
            words[phrase or word] = kind
    return words


_LEXICON = _lexicon()
_PHRASES = "|".join(sorted((re.escape(one) for one in _LEXICON if " " in one), key=len, reverse=True))
_NOUNS = r"(?:options?|answers?|choices?|alternatives?|statements?|ones?)"
_GROUP = re.compile(
    rf"\b(?:(?P<many>two|three|several|multiple|more than one|at least two)(?: of (?:the|these))? (?:other )?{_NOUNS}"
    rf"|(?P<how>none|no|all|both|each|every|any|neither)(?:(?: one)?(?: of)?(?: (?:the|these|those))?"
    rf"(?: (?:two|three|four|five|given|listed))?(?P<other> (?:other|remaining))?(?: (?:given|listed))?"
    rf"(?: {_NOUNS}| above)(?: (?:above|given|listed|here))?| of (?:these|those|them)|(?<=none)(?= (?:is|are|was|were)\b)|(?<=all)(?= (?:but|except)\b)|(?<=none)(?= (?:but|except)\b))"
    rf"|(?P<rest>the (?:two |three |four )?(?:others|rest|(?:other|remaining) (?:two |three |four )?{_NOUNS})))(?!\w)",
    re.I,
)
_TOKEN = re.compile(
    rf"[\ue000-\uf8ff]|\b(?:{_PHRASES})\b|[(\[\"']*[A-Za-z](?!\w|['.-]\w)[)\]\"']*|\w+(?:['-]\w+)*|"
    r"(?P<end>[.!?\n]+(?=[\s)\"']|$))|(?P<sign>[:=>]+|-+>?)|[,;&/()\[\]]",
    re.I,
)
_NAMES = frozenset(
    "vitamin vitamins plan grade grades type types hepatitis group class point section side part figure team series note "
    "building language letter letters programming gate platform level schedule influenza protein factor row seat exhibit "
    "mr mrs ms dr st".split()
)
"""Words before a capital letter that make it part of a name."""
_BEFORE_LABEL = frozenset("option options answer answers choice choices alternative letter label number".split())
_ORDINALS = {word: i for i, word in enumerate("first second third fourth fifth sixth seventh eighth".split())}
_NUMBERS = {word: i for i, word in enumerate("one two three four five six seven eight".split())}
_NUMBERS |= {str(i + 1): i for i in range(26)}


class Claim(NamedTuple):
    """One thing said about options."""

    of: str
    """The label of an option, or `all`, `many`, `rest` (all but the answer), `none` (as answer), `verdicts` (one's own)."""
    is_correct: bool
    quote: str
    """The sentence, in plain signs."""

    def contradicts(self, correct: str) -> bool:
        """Is it at odds with this option alone being correct?"""
        if self.of in ("rest", "many"):
            return self.is_correct
        return self.is_correct != (self.of == correct) if len(self.of) == 1 else True


class _Token(NamedTuple):
    kind: str
    """Its class; L for an option by its label, T by its text, G for a group of options, w for any other word."""
    word: str
    of: str = ""
    """As `Claim.of`."""


_M = "[LTG]"
_LIST = rf"{_M}(?:[,&]{{1,2}}[dq]{{0,2}}{_M}){{0,25}}+"
_BE = "(?P<be>be?|[mu]n?v{0,3}h?e|[mu]v{0,2}n?h?e|hn?e)"
_NOT = "(?P<not>[nq]?)"
_STOP = "(?=[.?,:&kBzlP]|v+(?!s))"
_JUDGED = rf"[dy]{{0,2}}v{{0,3}}(?:(?P<judged>[+XC-]|H(?=[AO.]))(?P<noun>[AO]?)|(?P<answer>A|(?<=d)wA|(?<=y)[Oc]|w?O(?=[.,]))){_STOP}"
_SHAPES = {
    name: re.compile(shape)
    for name, shape in {
        # B is the right answer; neither A nor B is correct; this cannot be true; it is C that is correct
        "subject": rf"(?P<q>[qnE]?)(?P<who>{_LIST}|P[AO]?)(?:,[^,.?LTG]{{1,12}},)?,?P?v{{0,3}}{_BE}v{{0,3}}{_NOT}v{{0,3}}{_JUDGED}",
        # the answer to this question must be B; correct answer: B; my choice is not B
        "object": rf"(?:(?P<judged>[+HC-])(?P<noun>[AO]?)|yv?[AOc]|y(?=:)|A|d[vw]{{0,3}}O(?=b)|OP(?=[bF]))(?P<between>[^bmuhe.,:?BkLTG]{{0,6}}?)(?:,[^,.?LTG]{{1,12}},)?"
        rf"v{{0,3}}(?:{_BE}|(?P<sign>:)){{1,2}},?v{{0,3}}{_NOT}v{{0,3}}:?d?(?P<who>{_LIST})(?!w)",
        # it is E; B it is
        "it is": rf"P{_BE}v{{0,3}}{_NOT}v{{0,3}}(?P<who>L){_STOP}",
        "is it": r"(?:^|(?<=[lBv,]))(?P<who>[LT])Pb(?=[.,])",
        # I would pick B; choose B
        "choice": rf"(?:iv{{0,2}}[mbhu]?(?P<not>n?)v{{0,2}}|^[lBv,]{{0,4}})e?[crC](?P<who>L){_STOP}",
        "urged": rf"m(?P<not>n?)v{{0,2}}c(?P<who>L){_STOP}",
        "left": rf"Jv{{0,2}}(?P<who>L){_STOP}",
        "ruled out": rf"(?:i[muvbeh]{{0,4}}|^)R(?P<who>{_LIST}){_STOP}",
        # which makes it the right choice
        "made": rf"(?P<not>n?)K(?P<who>{_LIST}|P){_JUDGED}",
        # B: correct
        "mark": rf"(?P<who>L)[:,]{{1,2}}{_NOT}d?(?P<judged>[+-])[AO]?(?=[.?,])",
        "check": rf"^(?P<who>L)(?P<judged>[+-])(?=[.])",
        "checked": rf"^(?P<judged>[+-])[AO]?:?(?P<who>{_LIST})(?=[.])",
        # B does not fit best; B is better than A
        "fit": rf"(?P<who>L(?:[,&]{{1,2}}L){{0,25}}+)v?[mub]?{_NOT}v{{0,3}}(?:F|(?P<judged>f)){_STOP}",
        # B is it; A is wrong and B is right; A is correct, and so is B
        "it": rf"(?P<who>L){_BE}{_NOT}P(?=[.B,])",
        "ellipsis": rf"(?:^|[,&kBl])v{{0,2}}(?P<who>L|P)(?P<be>b)(?P<not>n?)v{{0,2}}(?=[.,&B])",
        "likewise": rf"(?<=[+A,&])B(?P<be>b)(?P<who>L)(?=[.,])",
        # no option but B is correct; all options except A are wrong
        "exception": rf"(?P<group>G),?[IB]d?(?P<who>{_LIST}),?{_BE}v{{0,3}}{_NOT}v{{0,3}}{_JUDGED}",
        "beaten": r"(?P<who>L)v{0,2}V",
        "better": rf"(?P<who>L){_BE}{_NOT}v{{0,3}}d?v{{0,2}}[H+][AO]?(?:z|w)(?=d?{_M})",
    }.items()
}
_BARE = re.compile(r"^[lBv,:+AOyd]{0,6}(?P<who>[LT])[,:]?v?\.?$")
_ASIDE = re.compile(rf"(?<=[LT]),?[&kB]?[nI]q?d?{_M}(?:[,&]{{1,2}}[dq]?{_M}){{0,25}}+,?(?=[.?,bmuhkBP])|(?<![LTG])n{_LIST},?B(?=d?{_M})")
"""An option mentioned to be ruled out: "B, not A"; "not A but B"."""
_AFTER_LABEL = re.compile(r"[.?,:bmuh&kBnzlIFKHsVfr)]|P")
_DUE = re.compile(r"[AO+]v?(?:[be:]|[mu]n?e)v{0,2}n?v{0,2}:?d?$")
"""Where an answer is due: "the answer is ..."."""
_TAKES_BACK = re.compile(
    r"\b(?:i|we) (?:have |had )?(?:made|was|were|am|got|mixed|swapped|confused|mislabell?ed)\b.{0,30}"
    r"\b(?:mistake|mistaken|error|wrong|mixed up|swapped|verdicts|labels)\b"
    r"|\b(?:scratch|strike) that\b"
    r"|\b(?:ignore|disregard|forget|discard) (?:the|my|what|all|everything)\b.{0,30}\b(?:above|previous|earlier|verdicts?)\b"
    r"|\b(?:my|the|these|above|previous) (?:verdicts?|labels|analyses|conclusions?|explanations?)(?: above)? "
    r"(?:is|are|was|were|should be|must be) (?:all |completely )?"
    r"(?:wrong|incorrect|mistaken|reversed|swapped|mixed up|the other way)\b"
    r"|\bi (?:was|am|stand) (?:mistaken|corrected|wrong)\b|\bi take (?:that|it|this) back\b"
    r"|\b(?:given|stated|official|provided|supplied|above|gold|marked) (?:answer|label|key|solution)(?: [a-z])? "
    r"(?:is|was|must be|seems|has to be) (?:\w+ly )?(?:wrong|incorrect|mistaken|not correct|not right|false|erroneous)\b"
    r"|\b(?:there (?:is|are)|has|have|had) (?:no|not one|two|three|several|more than one|many|multiple) (?:really )?"
    r"(?:correct|right|valid) (?:answer|option|choice)"
    r"|\b(?:correct|right) (?:answer|option|choice) is (?:not (?:listed|given|here|among|in the|one of|any)|missing|absent)\b",
    re.I,
)
_REPENTS = re.compile(
    r"^(?:no|wait|actually|sorry|correction)\b ?[,.!:-]+ ?(?:\w{1,12} ){0,5}?(?P<not>not )?(?P<bad>in)?correct\b", re.I
)
_LONGEST_PREFIX = 60
"""Tokens before a claim that can change its meaning."""


def claims(text: str, question: Question, about: str | None = None) -> Iterator[Claim]:
    """Everything that a text claims about the question's options, in linear time.

    Args:
        about: the option that the text explains; "this" and "it" may then mean this option.
    """
    plain = _plain(text)
    if about and (repents := _REPENTS.match(plain.strip(" ,:-"))):
        yield Claim(about, (repents["bad"] is None) != bool(repents["not"]), plain)
    if back := _TAKES_BACK.search(plain):
        yield Claim("verdicts", False, back[0])
    bare = []
    asked: list[_Token] = []
    for sentence in _sentences(_tokens(_marked(plain, question), question)):
        kinds = "".join(token.kind for token in sentence)
        yield from _answered(asked, sentence)
        asked = sentence if kinds.endswith("?") else []
        if not about and not re.search(_M, kinds):
            continue
        if found := _BARE.match(kinds):
            token = sentence[found.start("who")]
            if token.kind == "L" or re.search("[+AB:v]", kinds[: found.start("who")]):
                bare.append(Claim(token.of, True, _words(sentence)))
        elif not kinds.endswith("?"):
            made = list(_claims_of(sentence, kinds, about))
            yield from made or _by_default(sentence, kinds)
    if len({claim.of for claim in bare}) == 1:  # several are a list of the options
        yield from bare


def _claims_of(sentence: Sequence[_Token], kinds: str, about: str | None) -> Iterator[Claim]:
    for name, shape in _SHAPES.items():
        for found in shape.finditer(kinds):
            stance = _stance(sentence, kinds, found)
            if stance is None or not _is_meant(name, found, sentence, kinds):
                continue
            groups = found.groupdict("")
            is_correct = (groups.get("judged", "") not in ("-", "X", "f") and name != "ruled out") == stance
            for token in sentence[found.start("who") : found.end("who")]:
                if groups.get("group"):
                    of = sentence[found.start("group")].of
                    yield Claim(token.of, is_correct == (of in ("none", "no other")), _words(sentence))
                elif token.kind in "LTG":
                    yield _claim(token, name, groups.get("q", ""), is_correct, _words(sentence))
                elif token.kind == "P" and (of := _antecedent(sentence[: found.start()]) or about):
                    yield Claim(of, is_correct, _words(sentence))


def _antecedent(before: Sequence[_Token]) -> str | None:
    """The option that "it" means after these words, if they name one."""
    named = {token.of for token in before if token.kind == "L"}
    return named.pop() if len(named) == 1 and "unlike" not in {token.word for token in before} else None


_JUDGES = frozenset(
    "correct incorrect answer answers choose chosen pick picked select selected vote winner verdict marked called".split()
)


_ASKED = re.compile(rf"^[lBv,]{{0,4}}b(?P<not>n?)(?:d?Ab)?(?P<who>L)(?:d?v{{0,2}}(?P<judged>[+-])[AO]?|d[wv]?A)?\?$")
"""A question that "yes" or "no" answers: "Is B correct?", "Is the answer B?"."""


def _answered(asked: Sequence[_Token], sentence: Sequence[_Token]) -> Iterator[Claim]:
    """The claim of a question that the next sentence answers with yes or no."""
    found = _ASKED.match("".join(token.kind for token in asked)) if asked else None
    if found and (word := sentence[0].word) in ("yes", "yeah", "no", "nope"):
        is_yes = word.startswith("y") != (found["judged"] == "-")
        yield Claim(asked[found.start("who")].of, is_yes, f"{_words(asked)} {_words(sentence)}")


def _by_default(sentence: Sequence[_Token], kinds: str) -> Iterator[Claim]:
    """What a sentence without a known shape claims, if it names one option by label and speaks of correctness."""
    named = {token.of for token in sentence if token.kind == "L"}
    judges = {token.word for token in sentence} & _JUDGES
    if len(named) == 1 and judges and not re.search("[srupxTG]", kinds):
        is_denied = re.search("[X-]", kinds) is not None
        yield Claim(named.pop(), is_denied == ("n" in kinds), _words(sentence))


def _claim(token: _Token, shape: str, quantity: str, is_correct: bool, quote: str) -> Claim:
    if token.of == "none":
        return Claim("none" if shape == "object" else "all", not is_correct, quote)
    if token.of == "no other":
        return Claim("rest", not is_correct, quote)
    return Claim(token.of, is_correct != (quantity == "q" and token.kind != "G"), quote)


def _stance(sentence: Sequence[_Token], kinds: str, found: re.Match[str]) -> bool | None:
    """Does the sentence affirm (True) or deny (False) what the shape says? None: neither."""
    groups = found.groupdict("")
    be = groups.get("be", "")
    if "u" in be and "n" not in be and "v" not in be and groups.get("judged") != "X":
        return None
    is_affirmed = ("n" in be) == bool(groups.get("not"))
    first = max(0, found.start() - _LONGEST_PREFIX)
    before = kinds[first : found.start()]
    clause = max(before.rfind(mark) for mark in "B:") + 1
    before, words = before[clause:], sentence[first + clause : found.start()]
    is_unreal = "would" in (token.word for token in sentence[found.start() : found.end()]) and "i" not in found[0]
    if re.search(r"s[^,]*$", before) or (words and words[0].word == "had"):
        return None
    if is_unreal and ("s" in before or re.match(",?v?s|w{1,3}s", kinds[found.end() :])):
        return None
    if denied := re.search(r"(.?)x[^,]{0,5}$", before):
        return is_affirmed if sentence[found.start() - len(denied[0])].word in ("no", "not") else not is_affirmed
    mine = re.search(r"i[mbvhu]*(n?)v*[rc]", before)
    if mine:
        return is_affirmed != bool(mine[1])
    return None if re.search(r"[ru][^,]*$", before) else is_affirmed


def _is_meant(name: str, found: re.Match[str], sentence: Sequence[_Token], kinds: str) -> bool:
    """Is a match of a shape a claim, given the kind of mention in it?"""
    who, groups = found["who"], found.groupdict("")
    if name == "object":
        if "p" in groups["between"]:
            return False
        if not groups["noun"] and not found[0].startswith(("A", "y")):
            return "T" not in who
        return "T" not in who or kinds[found.end() : found.end() + 1] in ".?,:kB&z"
    if name in ("urged", "left"):
        return not re.search("[pur]", kinds[: found.start()])
    if name == "ellipsis":
        return kinds.startswith("l") or re.search(r"[+A-]", kinds[: found.start()]) is not None
    if groups.get("answer") == "wA":  # "the logical answer", but not "an irrelevant answer"
        return "T" not in who and sentence[found.start("answer") - 1].word == "the"
    if name in ("subject", "made"):
        if "L" in who or "G" in who or groups["noun"] or groups["answer"].endswith("A"):
            return groups.get("q", "") not in ("n", "E") and not re.search("G,?[IB]d?$", kinds[: found.start("who")])
        follows = kinds[found.end() : found.end() + 1]
        return bool(groups["judged"]) and sentence[found.end("judged") - 1].word in _PLAIN_VERDICTS and follows in ".,kB"
    return True


_PLAIN_VERDICTS = frozenset("correct incorrect right wrong false".split())
"""Enough without "answer" or "option" behind them, even where something else than a label is judged."""


def _plain(text: str) -> str:
    """The text without markup, with plain signs and full forms, for judging only."""
    text = unicodedata.normalize("NFKC", text).translate(_SIGNS)
    text = re.sub(r"[\ue000-\uf8ff]|</?[a-z]{1,10}>", "", text)
    text = re.sub(r"\\[a-zA-Z]{1,12} ?\{|\\[()\[\]]|[{}\\]", " ", text)
    for pattern, full in _FULL_FORMS:
        text = pattern.sub(full, text)
    return "\n".join(" ".join(line.split()) for line in text.split("\n"))


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
    (re.compile(pattern, re.I), full)
    for pattern, full in (
        (r"\bcan(?:not|'t)\b", "can not"),
        (r"\bwon't\b", "will not"),
        (r"\bain't\b", "is not"),
        (r"n't\b", " not"),
        (r"\b(it|that|this|answer|there|what|here)'s\b", r"\1 is"),
        (r"'d\b", " would"),
        (r"'m\b", " am"),
        (r"'ll\b", " will"),
        (r"\blet's\b", "let us"),
        (r"\b([A-Z])'s(?= (?:the|not|correct|wrong|right|incorrect|my|our|it|clearly|definitely)\b)", r"\1 is"),
    )
)


class _Texts(NamedTuple):
    """How the texts of a question's options are found."""

    pattern: re.Pattern[str] | None
    labels: dict[str, str]
    """By text, in plain signs and small letters."""


@lru_cache(maxsize=512)
def _texts(question: Question) -> _Texts:
    labels: dict[str, str] = {}
    for option in question.options:
        labels.setdefault(_plain(option.text).strip(" .").casefold(), option.label)
    found = [text for text in labels if len(text) > 1 and not all(w in _LEXICON or w in _COMMON for w in text.split())]
    words = "|".join(re.escape(text) for text in sorted(found, key=len, reverse=True))
    return _Texts(re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.I) if words else None, labels)


_COMMON = frozenset("yes none all there they not much more less up down in on out off".split())
"""Option texts that stand in any sentence; like the words of `_CLASSES`, they count where an answer is due."""


def _marked(plain: str, question: Question) -> str:
    """The text with every group of options, and every option named by its text, as one character."""
    texts = _texts(question)

    def group(found: re.Match[str]) -> str:
        label = texts.labels.get(found[0].casefold())
        if label:
            return f" {_mark(label)} "
        if found["many"]:
            return " \ue201 "
        if found["rest"] or (found["other"] and found["how"].lower() not in ("none", "no", "neither")):
            return " \ue202 "
        if found["how"].lower() in ("none", "no", "neither"):
            return " \ue204 " if found["other"] else " \ue203 "
        return " \ue200 "

    plain = _GROUP.sub(group, plain)
    if texts.pattern is None:
        return plain
    return texts.pattern.sub(lambda found: f" {_mark(texts.labels[found[0].casefold()])} ", plain)


_GROUPS = dict(zip("\ue200\ue201\ue202\ue203\ue204", ("all", "many", "rest", "none", "no other"), strict=True))


def _mark(label: str) -> str:
    return chr(0xE100 + LABELS.index(label))


def _tokens(marked: str, question: Question) -> list[_Token]:
    """The text as tokens; labels are told from the article "a" and from names such as "vitamin C"."""
    texts = _texts(question).labels
    found = list(_TOKEN.finditer(marked))
    raw = [_raw(match) for match in found]
    tokens: list[_Token] = []
    kinds = ""
    for i, (token, match) in enumerate(zip(raw, found, strict=True)):
        follows = raw[i + 1].kind if i + 1 < len(raw) else "."
        before = tokens[-1] if tokens else _Token(".", ".")
        bare = match[0].strip("()[]\"'")
        made = token
        if len(bare) == 1 and bare.isascii() and bare.isalpha() and _is_label(match[0], before, follows, kinds):
            made = _Token("L", match[0], bare.upper())
        elif (before.kind in "OA" or before.word in ("number", "no")) and bare.lower() in _NUMBERS and _NUMBERS[bare.lower()] < len(question.labels):
            if before.word in _BEFORE_LABEL and follows != "O":
                made = _Token("L", match[0], question.labels[_NUMBERS[bare.lower()]])
        elif bare.lower() in texts and token.kind not in "LTG" and _DUE.search(kinds[-12:]) and follows in ".?,:kB":
            made = _Token("T", match[0], texts[bare.lower()])
        elif follows in "OA" and bare.lower() in _ORDINALS and _ORDINALS[bare.lower()] < len(question.labels):
            made = _Token("L", match[0], question.labels[_ORDINALS[bare.lower()]])
        elif follows == "O" and bare.lower() == "last":
            made = _Token("L", match[0], question.labels[-1])
        if made.kind == "T" and tokens and (m := re.search(r"L[,:.]?d?$", kinds[-4:])):
            at = len(kinds) - len(m[0])
            if tokens[at].of == made.of:  # "B. tree"
                del tokens[at + 1 :]
                kinds = kinds[: at + 1]
                continue
        if made.kind == "L" and tokens and tokens[-1].word in _BEFORE_LABEL:  # "option B"
            tokens.pop()
            kinds = kinds[:-1]
        if made.kind in "OA" and tokens and tokens[-1].kind == "L" and tokens[-1].word.lower() in (*_ORDINALS, "last"):
            continue
        tokens.append(made)
        kinds += made.kind
    return tokens


def _raw(match: re.Match[str]) -> _Token:
    """A token, apart from labels."""
    word = match[0].lower()
    if match["end"]:
        return _Token("?" if "?" in word else ".", word)
    if match["sign"]:
        return _Token(":", word)
    if word in _GROUPS:
        return _Token("G", word, _GROUPS[word])
    if "\ue100" <= word <= "\ue119":
        return _Token("T", word, LABELS[ord(word) - 0xE100])
    if word in "()[],\"":
        return _Token(",", word)
    return _Token(_LEXICON.get(word) or ("v" if word.endswith("ly") else "w"), word)


def _is_label(word: str, before: _Token, follows: str, kinds: str) -> bool:
    """Is a single letter the label of an option here?"""
    letter = word.strip("()[]\"'")
    if before.word in _NAMES:
        return False
    if len(word) > len(letter) + 1:
        return True
    is_named = before.kind in "OA"
    is_due = is_named or _DUE.search(kinds[-12:]) is not None
    can_end = _AFTER_LABEL.match(follows) is not None
    if letter.islower():
        return len(word) > 1 or (is_due and can_end)
    if letter == "I":
        return is_due and follows in ".?,"
    if letter == "A":
        return can_end or (before.kind not in ".?" and not before.word.isupper())
    return True


def _sentences(tokens: Sequence[_Token]) -> Iterator[list[_Token]]:
    """The tokens of every sentence, ending in "." or "?", without options that are only ruled out."""
    sentence: list[_Token] = []
    for token in (*tokens, _Token(".", ".")):
        sentence.append(token)
        if token.kind in ".?":
            kinds = "".join(one.kind for one in sentence)
            for found in reversed(list(_ASIDE.finditer(kinds))):
                del sentence[found.start() : found.end()]
            if len(sentence) > 1:
                yield sentence
            sentence = []


def _words(sentence: Sequence[_Token]) -> str:
    return " ".join(token.of if token.kind in "LTG" else token.word for token in sentence[:30])
