from __future__ import annotations

import pytest
import torch

from tinythinker.student.encode import IGNORED, Encoded, encode_prompts, encode_targets
from tinythinker.student.logps import target_logps
from tinythinker.student.student import Student

PROMPTS = ["Where does rain go?", "rain is wet and falls. Where?"]
TARGETS = ["rain falls.", "down"]


@torch.no_grad()
def test_log_probabilities_match_a_plain_loop_over_tokens(student: Student) -> None:
    student.model.eval()
    made = target_logps(student.model, encode_prompts(student, PROMPTS), encode_targets(student, TARGETS))
    for i, (prompt, target) in enumerate(zip(PROMPTS, TARGETS, strict=True)):
        ids = student.tokenizer(prompt, return_tensors="pt")["input_ids"]
        written = [student.model.config.decoder_start_token_id]
        total = 0.0
        for token in student.tokenizer(target)["input_ids"]:
            logits = student.model(input_ids=ids, decoder_input_ids=torch.tensor([written])).logits[0, -1]
            total += torch.log_softmax(logits, 0)[token].item()
            written.append(token)
        assert made.total[i].item() == pytest.approx(total, abs=1e-4)
        assert made.tokens[i].item() == len(written) - 1


@torch.no_grad()
def test_doubling_the_padding_changes_nothing(student: Student) -> None:
    student.model.eval()
    prompts, labels = encode_prompts(student, PROMPTS), encode_targets(student, TARGETS)
    wide = Encoded(*(torch.cat([part, torch.zeros_like(part)], 1) for part in prompts))
    wide_labels = torch.cat([labels, torch.full_like(labels, IGNORED)], 1)
    narrow, padded = target_logps(student.model, prompts, labels), target_logps(student.model, wide, wide_labels)
    assert torch.equal(narrow.tokens, padded.tokens)
    assert torch.allclose(narrow.total, padded.total, atol=1e-5)
