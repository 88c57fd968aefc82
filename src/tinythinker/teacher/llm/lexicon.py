"""Words and phrases by the part they play in a claim about an option; see `claims`."""

from __future__ import annotations

CLASSES = {
    # being
    "b": """
        is was are were am becomes become turns_out turned_out proves happens stands_out_as emerges_as
        counts_as comes_out_as serves_as represents provides gives contains states offers include includes
        is_considered is_regarded_as is_seen_as can_be_considered can_be_regarded_as can_be_seen_as
        can_be_found_in is_found_in lies_in lies_with is_given_by
    """,
    # being, after another verb
    "e": "be been have_been to_be to_have_been",
    # "has to", "ought to"
    "h": "has have had ought needs got deserves",
    # verbs of certainty
    "m": "have_to has_to had_to need_to needs_to ought_to must should would will shall does do did",
    # verbs and words of possibility
    "u": "can could might may perhaps maybe possibly",
    # appearance
    "S": """
        seem seems seemed appear appears appeared look looks looked sound sounds looks_like seems_like
        feels_like
    """,
    # negation
    "n": """
        not never no_longer hardly far_from anything_but by_no_means in_no_way nothing nobody without
        lacks no nearly almost half partly partially
    """,
    # exclusion: "rather than B"
    "I": """
        instead_of rather_than as_opposed_to in_place_of over except besides save excluding other_than
        apart_from except_for
    """,
    # praise
    "+": """
        correct apt equally_good just_as_good as_correct as_right as_likely as_plausible right true
        accurate valid proper appropriate suitable acceptable best fitting spot_on on_the_mark ideal
        perfect preferable the_way_to_go
    """,
    # faint praise: its denial is a verdict
    "g": "good great strong convincing viable as_good good_enough enough",
    # blame
    "-": """
        incorrect wrong false mistaken inaccurate invalid erroneous inappropriate unsuitable worst flawed
        misleading impossible nonsense absurd unlikely implausible off_the_mark out_of_the_question
        distractor trap a_mistake an_error a_misprint bad poor weak irrelevant unrelated inapplicable
        unsound inadequate untenable weaker weakest least_convincing untrue unacceptable off_the_table
        beside_the_point no_good least_likely least_suitable least_appropriate least_plausible worse
        inferior less_suitable less_likely less_appropriate less_accurate less_plausible less_logical
        less_sensible less_reasonable less_fitting less_precise less_apt less_correct less_convincing
    """,
    # praise, as a participle
    "C": "chosen selected preferred accepted",
    # blame, as a participle
    "X": """
        ruled_out excluded eliminated rejected discarded dismissed disqualified refuted disproved removed
        crossed_out ignored mistake mistakenly wrongly incorrectly erroneously out
    """,
    # to rule out
    "R": """
        rule_out rules_out exclude excludes eliminate eliminates reject rejects discard discards dismiss
        dismisses cross_out crosses_out avoid disqualifies strike skip forget ignore
    """,
    # the answer
    "A": "answer answers ans conclusion expected_answer model_answer",
    # an option
    "O": """
        solution solutions option options choice choices one ones alternative alternatives selection
        response statement match one_left option_left choice_left option_left_standing bet candidate label
        letter verdict
    """,
    # owners of an answer
    "y": "my our your final intended",
    # articles
    "d": "the a an its another",
    # adverbs, and adjectives that change nothing
    "v": """
        also indeed then still even just only single sole real actual most very other obvious clear now
        always again both of_course in_fact by_far after_all in_the_end without_doubt without_a_doubt
        it_goes_without_saying_that safe_to_say almost_certainly nearly_always odd_one_out of_these all
        each here too instead no_doubt without_question beyond_doubt actually finally hence thus therefore
        ultimately alone for_sure as_well logical likely plausible sensible reasonable natural strongest
    """,
    # and
    "&": "and or nor & / as_well_as plus",
    # neither
    "q": "neither",
    # either
    "E": "either whichever",
    # pronouns
    "P": "it this that which",
    # the writer
    "i": "i we let_us",
    # to choose
    "c": """
        choose chose choosing pick picked picking select selecting go_with go_for going_with going_for
        went_with opt_for opted_for settle_on settle_for vote_for settled_on voted_for mark tick circle
        stick_with answer_with mean meant bet_on prefer favor favour get insist_on decide_on decided_on
        decide_for decided_for leaning_towards lean_towards leaning_toward lean_toward switch_to change_to
    """,
    # to lead to
    "J": """
        leaves leaves_us_with leaving_us_with leads_to points_to point_to left_with arrive_at leaving
        falls_on goes_to end_up_with suggests suggest indicates indicate supports support favours favors
        money_is_on leads_me_to leads_us_to brings_us_to brings_me_to takes_us_to gives_us implies means
        confirms
    """,
    # to make
    "K": "makes make making made renders",
    # to fit
    "F": """
        fits_best works_best suits_best makes_the_most_sense makes_most_sense fits_better works_better
        makes_more_sense wins works work fits fit applies apply makes_sense make_sense qualifies remains
        remain comes_out_on_top stands_out takes_it qualify hold holds follow follows suit suits holds_up
        hold_up
    """,
    # to beat
    "V": "beats trumps outperforms wins_over",
    # to fail
    "f": """
        fails fail loses loses_to pales_beside makes_no_sense makes_little_sense does_nothing
        misses_the_point falls_away falls_short drops_out contradicts_the_question
        has_nothing_to_do_with_the_question has_no_bearing_on_the_question
    """,
    # comparison
    "H": """
        better more_correct more_accurate more_suitable more_appropriate more_likely far_better
        much_better a_lot_better likelier stronger more_plausible more_logical more_sensible
        more_reasonable more_natural more_fitting more_precise more_apt more_convincing more_obvious
        more_accurately closer superior
    """,
    # supposition
    "s": "if unless suppose supposing assuming imagine whether where when whenever until in_which as_if as_though",
    # belief and report
    "r": """
        think thinks thinking thought believe believes believed believing say says said saying claim
        claims claimed argue argues argued assume assumes assumed guess guesses guessed expect expects
        expected tempted tempting confused pretend pretends impression feel feels consider considers
        conclude concludes tell tells told insist insists suspect suspects hope hopes wish ask asks asked
        find finds know sure inclined convinced certain confident like agree agrees reckon figure deem
        regard rate
    """,
    # other people
    "p": """
        people many some students student child children often commonly popular everybody everyone someone
        somebody whoever reader readers pupils those anyone anybody others kids beginners learners he she
    """,
    # denial of a whole clause
    "x": """
        not_true_that untrue_that unlikely_that impossible_that improbable_that not_the_case_that no_way
        doubt doubtful wrong_to_say wrong_to_think incorrect_to_say false_that not_mean not_possible_that
        a_mistake_to_think a_mistake_to_say disagree a_lie myth misconception mistaken_when wrong_when
    """,
    # reasons and concessions
    "k": "because since as while whereas given though although despite due",
    # turns
    "B": "but however yet so nevertheless ; ergo",
    # what may follow a verdict
    "z": """
        overall among according based by than to_choose to_pick to_select for_this to_this_question
        for_the_question of_the_question in_this to_this to_the_question on_this of_all of_the_options
        of_the_answers of_the_three of_the_four of_the_five in_the_list for_our in_our for_the_given
    """,
    # what may open a short answer
    "l": """
        wait sorry correction ok okay hmm hm oh result in_conclusion in_short in_summary to_sum_up
        on_second_thought i_mean please oops apologies rather bottom_line never_mind my_mistake
        common_sense logic reason yes yeah nope edit update let_me_correct_myself hold_on key
    """,
}
"""One character per class; `_` joins the words of a phrase. No word has two classes."""
NAMES = frozenset(
    """
    vitamin vitamins plan grade grades type types hepatitis group class point section side part figure team
    series note building language letters programming gate platform level schedule influenza protein
    factor row seat exhibit mr mrs ms dr st an bus
    """.split()
)
"""Words before a capital letter that make it part of a name: "vitamin C"."""
BEFORE_OPTION = frozenset(
    """
    with for of to from about on in at into under against unlike call calls called calling prefer consider why
    how take takes making rules rule than versus vs see here there today prefers love recommend give gives
    mention like behind afraid
    """.split()
)
"""Other words of no class before a capital letter that is an option; after any other noun it is a name: "bus C"."""
