"""What a text claims about the options of a question: which one is the answer, which are correct or incorrect.

Words become tokens of a few classes (`lexicon`), one character each, and every mention of an option is one token
(`mentions`). A claim is a sentence of a known shape over these classes: "B is not the right answer", "the answer must
be B", "I would pick B". A sentence of no known shape that names one option by label and judges it claims something
too, and every negative word in it turns the claim round. Suppositions, reported beliefs, questions and mere mentions
are no claims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from tinythinker.core.records import Question
from tinythinker.teacher.llm.mentions import Token, plain, sentences

_M = "[LTG]"
_LIST = rf"{_M}(?:(?:,[dq]{{0,2}}{_M}){{0,25}},?&{{1,2}}[dq]{{0,2}}{_M}){{0,8}}+"
_V = "v{0,3}"
_BE = "(?P<be>be?|[mu]?n?v?Sn?v?e?|bhn?e|[mu]n?[uv]{0,3}h?e|[mu]v{0,2}n?h?e|hn?e)"
_NOT = "(?P<not>[nq]?)"
_PAUSE = "(?:,[^,.?LTG]{1,12},)?"
_STOP = "(?=[.?,:&kBzlP]|v+(?!s))"
_ANSWER = "(?P<answer>A|(?<=d)wA|(?<=y)[Oc]|w?O(?=[.,])|(?<=dvv)(?=[.,]))"
_JUDGED = rf"k?[dy]{{0,2}}{_V}(?:(?P<judged>[+gXC-]|H(?=[AOF.]))(?P<noun>[AOF]?|(?<=d.)w(?=[.]))|{_ANSWER}){_STOP}"
_SHAPES = {
    # B is the right answer; neither A nor B is correct; this cannot be true; it is C that is correct
    "subject": rf"(?P<q>[qnE]?)v?(?P<who>{_LIST}|P[AO]?){_PAUSE},?P?{_V}{_BE}{_V}{_PAUSE}{_NOT}{_V}{_JUDGED}",
    # the answer to this question must be B; correct answer: B; my choice is not B
    "object": rf"(?:(?P<judged>[+HC-])(?P<noun>[AO]?)|yv?[AOcr]|y(?=:)|A|d[vw]{{0,3}}Oz?(?=b)|OP?(?=[biF]))"
    rf"(?P<between>[^bmuhe.,:?BkLTG]{{0,6}}?){_PAUSE}{_V}(?:{_BE}|:){{1,2}},?{_V}{_NOT}{_V}:?[dw]?(?P<who>{_LIST})(?!w)",
    # it is E; B it is
    "it is": rf"P{_BE}{_V}{_NOT}{_V}(?P<who>L){_STOP}",
    "is it": rf"(?:^|(?<=[lBv,]))(?P<who>[LT])P{_BE}(?=[.,])",
    # I would pick B; choose B; you should choose B
    "choice": rf"(?:iv{{0,2}}[mbhu]?(?P<not>n?)v{{0,2}}(?:e?[crCA](?:Pe)?d?|(?<=i[mu]))|^[lBv,]{{0,4}}e?[cC]d?)"
    rf"(?P<who>L|(?<=[crCAd])T(?=\.)|P[AO]?(?=\.)){_STOP}",
    "urged": rf"m(?P<not>n?)v{{0,2}}c(?P<who>L){_STOP}",
    # everything points to B; the key says B; given all this, B
    "left": rf"(?:J|(?<=[lA])r)v{{0,2}}(?P<who>L){_STOP}",
    "last word": r"(?:^[^LTG]+,v{0,2}|,[vB]{1,2})(?P<who>L)(?=\.$)",
    # we can rule out A; that rules A out
    "ruled out": rf"(?:i[muvbeh]{{0,4}}|^|Pv?)R(?P<who>{_LIST}|P[AO]?){_STOP}",
    "knocked out": rf"w(?P<who>L)(?P<judged>X){_STOP}",
    # which makes it the right choice
    "made": rf"(?P<not>n?)K(?P<who>{_LIST}|P){_JUDGED}",
    # B: correct; incorrect: A and C
    "mark": rf"(?P<who>L)[:,]{{1,2}}{_NOT}d?(?P<judged>[+-])[AO]?(?=[.?,])",
    "check": r"^(?P<who>L)(?P<judged>[+-])(?=[.])",
    "checked": r"^(?P<judged>[+-])[AO]?:?(?P<who>L(?:[,&]{1,2}L){0,25})(?=[.])",
    # B does not fit best; B is it
    "fit": rf"(?P<who>L(?:[,&]{{1,2}}L){{0,25}}+|G|P[AO]?)v?[mub]?{_NOT}{_V}\+?(?:F|(?P<judged>f)|(?<=n)m)"
    rf"(?:{_STOP}|(?<=f)(?={_M}))",
    # so not correct; hence the answer
    "alone": r"(?:^|[,&B])[lBv,&]{0,3}b?v{0,2}(?P<not>n?)v{0,2}d?(?P<who>(?P<judged>[+-])[AO]?|A)(?=[.]$)",
    "it": rf"(?P<who>L){_BE}{_NOT}P(?=[.B,])",
    # A is wrong and B is not; A is correct, and so is B
    "ellipsis": r"(?:^|[,&kBl])v{0,2}(?P<who>L|P)(?P<be>b)(?P<not>n?)v{0,2}(?=[.,&B])",
    "likewise": r"(?<=[+A,&B])[Bk](?P<be>b)(?P<who>L)(?=[.,])",
    # A is correct, and B too
    "too": r"(?<=[+A])[,&B]{1,2}(?P<who>L)v(?=[.])",
    # no option but B is correct; all options except A are wrong
    "exception": rf"(?P<group>G),?[IB]d?(?P<who>{_LIST}),?{_BE}{_V}{_NOT}{_V}{_JUDGED}",
    # B is better than A; B beats A
    "better": rf"(?P<who>L|P[AO]?){_BE}{_NOT}{_V}d?v{{0,2}}"
    rf"(?:[H+][AO]?[zw]|(?P<judged>[g-])[AO]?[zwk])d?(?P<than>{_M})",
    "beaten": r"(?P<who>L)v{0,2}V",
}
_COMPILED = {name: re.compile(shape) for name, shape in _SHAPES.items()}
_BARE = re.compile(r"^(?:w{1,3}:)?[lBvn,:+AOyd]{0,6}(?:[bmuh]v?e?)?(?P<who>[LT])(?:,?v?|:v|,ib?v?r)\.?$")
"""A sentence that is nothing but an option: "So, B."."""
_ASKED = re.compile(
    r"^[lBv,]{0,4}(?:b(?:n?P|n?d?Ab|n)?|[um]n?(?:Pe)?)?(?P<who>L)e?(?:d?v{0,2}(?P<judged>[+-])[AO]?|d[wv]?A)?\?$",
)
_ANSWERS = re.compile("n?v?d?(?P<judged>[+-])[AO]?[.,]|")
"""A question that "yes" or "no" answers: "Is B correct?", "Is the answer B?"."""
_TAG = re.compile(r"[^,],[^,]{1,4}\?$")
"""A question that claims: "B is correct, isn't it?"."""
_WRONG = r"(?:wrong|incorrect|mistaken|false|erroneous|not correct|not right)"
_TAKES_BACK = re.compile(
    rf"""
    \b(?:i|we)\ (?:(?:must\ )?have\ |had\ )?(?:made|got|mixed|swapped|confused|mislabell?ed)\b.{{0,20}}
        \b(?:mistakes?|error|wrong|swapped|verdicts|labels|up)\b
    |\bi\ (?:was|am|stand)\ (?:mistaken|corrected|wrong)(?=\ ?[.,!;:]|$|\ about\ (?:option\ )?[a-z]\b)
    |\bi\ take\ (?:that|it|this)\ back\b
    |\bi\ (?:have\ )?swapped\b|\b(?:should|must)\ be\ swapped\b|\bswap\ the\ (?:verdicts|labels|answers)\b
    |\b(?:scratch|strike)\ that\b
    |\b(?:ignore|disregard|forget|discard)\ (?:the|my|what|all|everything|these)\ (?:
        .{{0,20}}(?:answers?|verdicts?|analys[ie]s|lines?|text|wrote|said|explanations?|everything|all)
            (?:\ \w+)?\ (?:above|before|earlier)
        |(?:\w+\ ){{0,3}}verdicts?|above|previous|earlier)\b
    |\b(?:my|the|these|above|previous)\ (?:
            (?<=my\ )(?:answer|choice)|verdicts?|labels|analyses|conclusions?|explanations?)(?:\ above)?
        \ (?:is|are|was|were|should\ be|must\ be)\ (?:all\ |completely\ )?
        (?:{_WRONG}|reversed|swapped|mixed\ up|the\ other\ way)\b
    |\b(?:given|stated|official|provided|supplied|above|gold|marked)\ (?:answer|label|key|solution)(?:\ [a-z])?
        \ (?:is|was|must\ be|seems|has\ to\ be)\ (?:\w+ly\ )?(?:an?\ )?(?:mistake|error|typo|misprint|{_WRONG})\b
    |\b(?:there\ (?:is|are)|(?:this|the)\ question\ (?:is\ \w+\ and\ )?has)\ (?:
            no|not\ an?|not\ any|not\ one|two|three|several|more\ than\ one|many|multiple)
        \ (?:really\ )?(?:correct|right|valid)\ (?:answer|option|choice)s?
        (?=\ ?[.,!;]|$|\ here|\ among|\ in\ the|\ given|\ for\ this)
    |\b(?:correct|right)\ (?:answer|option|choice)\ is
        \ (?:not\ (?:listed|given|here|among|in\ the|one\ of|any)|missing|absent)\b
    """,
    re.I | re.X,
)
"""A verdict on the verdicts themselves."""
_REPENTS = re.compile(
    r"^(?:no|wait|actually|sorry|correction)\b ?[,.!:-]+ ?(?:\w{1,12} ){0,5}?(?P<not>not )?(?P<bad>in)?correct\b", re.I
)
_SHOWN = re.compile("[lA]v*r|^[lBv,]*Pv*r")
"""A report that stands for a fact: "the key says", "this tells us"."""
_MINE = re.compile(r"i[mbvhuwe]{0,5}(?P<not>n?)v*[rc]")
"""The writer's own belief: "I do not think that ..."."""
_ONE_BY_ONE = frozenset("next now first second third lastly".split())
"""Before an option that is only announced: "Next, option D."."""
_AT_FIRST = frozenset("first glance surface initially".split())
"""A first impression, which is no claim."""
_PERHAPS = frozenset("might may could perhaps maybe possibly".split())
_GOVERN = frozenset("for of on about with to from than call calling".split())
"""Before a label: the sentence speaks of something else, such as the verdict on B."""
_PLAIN_VERDICTS = frozenset("correct incorrect right wrong false eliminated rejected chosen selected".split()) | {
    "ruled out"
}
"""Enough without "answer" or "option" behind them, even where something else than a label is judged."""
_JUDGES = re.compile("\\+(?![wP])|[ACXRVf-]|H(?=[AO.])|n.*g")
"""A word that judges an option, in a sentence of no known shape."""
_JUDGING = frozenset("correct best verdict vote winner analysis".split())
_NEGATIVES = re.compile("^&b|^x|[nfXR-]")
_I_CHOOSE = re.compile(r"(?:i|^[lBvmn,]*c).*L\.$")
_TURNED = re.compile("^[^rp]*[rp][^L]*L[^+ACc-]*[+ACc-].*[be]n?v*d?[vw]?-|^[lBv,]*[iP]bv*d?v?-[^rs]*[rs].*L")
"""A report that the sentence itself judges: "the claim that B is correct is false", "I was wrong to say that B is"."""
_CHOICES = frozenset("choose chosen pick picked select selected".split()) | {"to choose", "to pick", "to select"}
_ELSEWHERE = frozenset(
    """
    close near between differ differs exceeds compare add adds need another different previous last than elsewhere
    otherwise were
    """.split()
)
"""Of another question, or of no real case."""


class OptionClaim(NamedTuple):
    """One thing that a text says about options."""

    of: str
    """An option's label, or `all`, `many`, `rest` (all but the answer), `none` (as answer), `verdicts` (its own)."""
    is_correct: bool
    quote: str
    """The sentence, with options as labels."""

    def contradicts(self, correct: str) -> bool:
        """Is it at odds with this option alone being correct?"""
        if self.of in ("rest", "many"):
            return self.is_correct
        return self.is_correct != (self.of == correct) if len(self.of) == 1 else True


class _Match(NamedTuple):
    """A shape found in a sentence."""

    name: str
    groups: dict[str, str]
    found: re.Match[str]
    sentence: Sequence[Token]

    @property
    def behind(self) -> str:
        """The classes before it."""
        return self.found.string[: self.found.start()]

    @property
    def follows(self) -> str:
        """The class after it."""
        return self.found.string[self.found.end() : self.found.end() + 1]

    @property
    def tokens(self) -> Sequence[Token]:
        """Its tokens."""
        return self.sentence[self.found.start() : self.found.end()]

    def word(self, group: str, shift: int = 0) -> str:
        """The first word of a group, or one so many tokens from it."""
        at = self.found.start(group) + shift
        return self.sentence[at].word if at >= 0 else ""


def claims(text: str, question: Question, about: str | None = None) -> Iterator[OptionClaim]:
    """Everything that a text claims about the question's options, in time linear in its length.

    Args:
        about: the option that the text explains; "this" and "it" may then mean this option, otherwise the one that
            the sentence before is about.
    """
    text = plain(text)
    if about and (repents := _REPENTS.match(text.strip(" ,:-"))):
        yield OptionClaim(about, (repents["bad"] is None) != bool(repents["not"]), repents[0])
    if back := _TAKES_BACK.search(text):
        yield OptionClaim("verdicts", False, back[0])
    bare: list[OptionClaim] = []
    asked: list[Token] = []
    before: str | None = None
    for sentence in sentences(text, question):
        kinds = "".join(token.kind for token in sentence)
        yield from _answered(asked, sentence)
        asked = sentence if kinds.endswith("?") else []
        subject, before = about or before, None if about else _antecedent(sentence)
        if not subject and not re.search(_M, kinds):
            continue
        if found := _BARE.match(kinds):
            bare += _bare(found, sentence)
        elif not asked or _TAG.search(kinds):
            yield from list(_shaped(sentence, kinds, subject)) or _by_default(sentence, kinds)
    if len({claim.of for claim in bare}) == 1:  # several are a list of the options
        yield from bare


def _bare(found: re.Match[str], sentence: Sequence[Token]) -> Iterator[OptionClaim]:
    """The claim of a sentence that is nothing but an option; an option's text needs a word before it."""
    token, before = sentence[found.start("who")], found.string[: found.start("who")]
    if token.kind == "L" or re.search("[+AB:v]", before):
        yield OptionClaim(token.of, "n" not in before or sentence[0].word == "no", _words(sentence))


def _answered(asked: Sequence[Token], sentence: Sequence[Token]) -> Iterator[OptionClaim]:
    """The claim of a question that the next sentence answers with yes or no."""
    found = _ASKED.match("".join(token.kind for token in asked)) if asked else None
    if found and (answer := _ANSWERS.match("".join(token.kind for token in sentence))):
        word, judged = sentence[0].word, answer["judged"]
        if not judged and word not in ("yes", "yeah", "no", "nope"):
            return
        is_correct = judged == "+" if judged else word.startswith("y") != (found["judged"] == "-")
        yield OptionClaim(asked[found.start("who")].of, is_correct, f"{_words(asked)}? {_words(sentence)}")


def _shaped(sentence: Sequence[Token], kinds: str, about: str | None) -> Iterator[OptionClaim]:
    """The claims of the shapes found in a sentence."""
    quote = _words(sentence)
    for name, shape in _COMPILED.items():
        for found in shape.finditer(kinds):
            match = _Match(name, found.groupdict(""), found, sentence)
            is_meant = name not in _IS_MEANT or _IS_MEANT[name](match)
            if not is_meant or (stance := _stance(match)) is None:
                continue
            judged = match.groups.get("judged", "")
            is_correct = (judged not in ("-", "X", "f") and name != "ruled out") == stance
            if judged == "g" and is_correct:
                continue
            for token in _judged(match, about):
                yield _claim(token, match, is_correct, quote)


def _judged(match: _Match, about: str | None) -> Iterator[Token]:
    """The mentions that a match judges; "it", "both" and "neither" as the options they stand for."""
    before = match.sentence[: match.found.start()]
    for token in match.sentence[match.found.start("who") : match.found.end("who")]:
        if token.of in ("both", "neither"):
            for of in dict.fromkeys(one.of for one in before if one.kind in "LT") or ("all",):
                yield Token("L", token.of, of)
        elif token.kind in "LTG":
            yield token
        elif token.kind in "P+-A" and (meant := _antecedent(before) or about):
            yield Token("L", token.word, meant)


def _claim(token: Token, match: _Match, is_correct: bool, quote: str) -> OptionClaim:
    """What a match says about one mention in it."""
    if match.name == "better" and is_correct:
        worse = match.sentence[match.found.start("than")]
        return OptionClaim(token.of, True, quote) if worse.kind == "G" else OptionClaim(worse.of, False, quote)
    if match.groups.get("group"):
        group = match.sentence[match.found.start("group")].of
        return OptionClaim(token.of, is_correct == (group in ("none", "no other")), quote)
    if token.of == "none":
        return OptionClaim("none" if match.name == "object" else "all", not is_correct, quote)
    if token.of == "no other":
        return OptionClaim("rest", not is_correct, quote)
    is_neither = token.word == "neither" or (match.groups.get("q") == "q" and token.kind != "G")
    return OptionClaim(token.of, is_correct != is_neither, quote)


def _antecedent(before: Sequence[Token]) -> str | None:
    """The option that "it" means after these words, if they name one as a subject."""
    named = {token.of for token in before if token.kind == "L"}
    is_subject = re.search("L[^,LTG]", "".join(token.kind for token in before)) is not None
    return named.pop() if len(named) == 1 and is_subject else None


def _by_default(sentence: Sequence[Token], kinds: str) -> Iterator[OptionClaim]:
    """What a sentence of no known shape claims, if it names one option by label and speaks of correctness.

    Every negative word turns it round: "calling A correct was a mistake".
    """
    named = {token.of for token in sentence if token.kind in "LT"}
    words = {token.word for token in sentence}
    if len(named) != 1 or "L" not in kinds or re.search("[sG?]|L[rJ]", kinds) or _is_limited(sentence):
        return
    if words & _ELSEWHERE or (words & _AT_FIRST and "n" not in kinds):
        return
    is_report = re.search("r(?!,?B)", kinds) and not _SHOWN.search(kinds) and not _MINE.search(kinds)
    is_told = is_report or re.search("p|(?<!^)x|u(?!v*(?:n|e?[XR]))|S(?!.*n).*B", kinds)
    if is_told and not _TURNED.search(kinds):
        return
    if _JUDGES.search(kinds) or words & _JUDGING or (words & _CHOICES and _I_CHOOSE.search(kinds)):
        yield OptionClaim(named.pop(), len(_NEGATIVES.findall(kinds)) % 2 == 0, _words(sentence))


def _is_limited(sentence: Sequence[Token]) -> bool:
    """Does it speak of a special case: "for fish, C would be best", "C is correct only for fish"?"""
    words = [token.word for token in sentence]
    if words[0] in ("for", "in") and "would" in words and all(token.kind not in "iy" for token in sentence):
        return True
    return any(word == "only" and after in ("for", "in", "about", "of") for word, after in pairwise(words))


def _stance(match: _Match) -> bool | None:
    """Does the sentence affirm (True) or deny (False) what the shape says? None: it supposes or reports it."""
    be = match.groups.get("be", "")
    is_hedged = "u" in be and "n" not in be and "v" not in be and match.groups.get("judged") != "X"
    behind = match.behind if match.name != "alone" else ""
    clause = max(behind.rfind("B"), behind.rfind(":")) + 1
    before, words = behind[clause:], match.sentence[clause : len(behind)]
    if "S" in be + before[before.rfind(",") + 1 :] and "n" not in be:  # "C seems right", and nothing takes it back
        is_doubted = re.search("[ks]", before) or any(token.word in _AT_FIRST for token in match.sentence)
        is_hedged = is_hedged or bool(is_doubted) or match.follows != "."
    if is_hedged or re.search(r"s[^,]*$", before) or match.sentence[0].word in ("had", "were") or _is_unreal(match):
        return None
    is_affirmed = ("n" in be) == bool(match.groups.get("not"))
    if denied := re.search(r"(.?)x[^,]{0,5}$", before):
        return is_affirmed == (match.word("who", -len(denied[0])) in ("no", "not"))
    if mine := _MINE.search(before):
        return is_affirmed != bool(mine["not"])
    is_told = any(token.kind == "r" or token.word in _PERHAPS for token in words[before.rfind(",") + 1 :])
    is_told = is_told and not _SHOWN.search(before)
    return None if is_told else is_affirmed


def _is_unreal(match: _Match) -> bool:
    """Does it only say what would be the case: "B would be correct if ..."?"""
    if _is_limited(match.sentence):
        return True
    if re.search("[iy]", match.found[0]) or all(token.word != "would" for token in match.tokens):
        return False
    return "s" in match.behind or re.match(",?v?s|w{1,3}s", match.found.string[match.found.end() :]) is not None


def _is_answer(match: _Match) -> bool:
    """Does "the answer is ..." give the answer? An option's text must end there, and may not follow "the best is"."""
    if "p" in match.groups["between"]:
        return False
    if match.groups["between"] == "w" and match.word("judged") in ("correct", "right", "wrong", "incorrect"):
        return "T" not in match.found["who"] or match.follows == "."
    if not match.groups["noun"] and not match.found[0].startswith(("A", "y")):
        return "T" not in match.found["who"]
    return "T" not in match.found["who"] or match.follows in ".?,:kB&z"


def _is_verdict(match: _Match) -> bool:
    """Is "... is correct" a verdict on an option? An option's text or "it" takes more words than a label."""
    who, groups = match.found["who"], match.groups
    behind = match.found.string[: match.found.start("who")]
    if groups.get("q") == "n" or re.search("G,?[IB]d?$", behind):
        return False
    if match.name == "subject" and match.word("who", -1) in _GOVERN and match.word("who", -2) not in ("all", "both"):
        return False
    if groups["answer"] == "wA":  # "the logical answer", but not "an irrelevant answer"
        return "T" not in who and match.word("answer", -1) == "the"
    if groups["noun"] == "w" and match.word("judged") not in _PLAIN_VERDICTS:
        return False
    if re.search("[LG]|P[AO]", who) or groups["noun"] or groups["answer"].endswith("A"):
        return True
    return bool(groups["judged"]) and match.word("judged") in _PLAIN_VERDICTS and match.follows in ".,kB"


def _is_fit(match: _Match) -> bool:
    """Is "... fits" a verdict? Of "it" only if it fits the question, and not if the sentence is on something else."""
    who, last = match.found["who"], match.tokens[-1].word
    if match.word("who", -1) in _GOVERN:
        return False
    if match.groups["judged"] == "f" and match.follows in ("L", "T", "G"):
        return True
    return not who.startswith("P") or len(who) > 1 or last in ("fit", "fits", "fits best")


def _is_plain(match: _Match) -> bool:
    """Is a verdict without a subject plain enough, and no other option in front of it?"""
    word = match.word("judged" if match.groups["judged"] else "who")
    return (word in _PLAIN_VERDICTS or word == "answer") and not re.search(_M, match.behind)


_IS_MEANT: dict[str, Callable[[_Match], bool]] = {
    "subject": _is_verdict,
    "made": _is_verdict,
    "object": _is_answer,
    "fit": _is_fit,
    "alone": _is_plain,
    "choice": lambda match: all(not token.word.startswith("consider") for token in match.tokens),
    "urged": lambda match: match.tokens[0].word != "would" and not re.search("[ur]", match.behind),
    "left": lambda match: not re.search("[npur]", match.behind),
    "last word": lambda match: match.sentence[0].word not in _ONE_BY_ONE,
    "ellipsis": lambda match: match.found.string.startswith("l") or re.search("[+A-]", match.behind) is not None,
}
"""Is a match of this shape a claim, given the words in it and around it? Those of other shapes always are."""


def _words(sentence: Sequence[Token]) -> str:
    """The first words of a sentence, to quote it."""
    words = (token.of if token.kind in "LTG" else token.word for token in sentence[:30] if token.kind not in ".?")
    return " ".join(words).replace(" ,", ",")
