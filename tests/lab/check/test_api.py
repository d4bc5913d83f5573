import json

import pytest

import pgzoo
from tests.lab.check import estimators as e


def test_right_in_words():
    found = pgzoo.check(e.rloo, seed=100)
    assert found.passed
    assert str(found).startswith("✓ rloo is right: unbiased for ∇J, J = E Σ_t r_t\n")
    assert [(f.name, f.refuses) for f in found.findings] == [("looks-at-the-past", False)]
    assert found.figures["variance_over_returns_to_go"] < 1


def test_rescaled_in_words():
    found = pgzoo.check(e.mean_of_the_group, seed=100)
    assert (found.verdict, found.passed) == ("rescaled", False)
    assert "scale 0.875 = (K−1)/K: the baseline contains its own sample" in str(found)
    assert found.findings[0].evidence["factor"] == pytest.approx(0.875, abs=1e-3)


def test_the_sign_in_words():
    assert "points the other way: a sign?" in str(pgzoo.check(e.descent, seed=100))


def test_which_discount():
    found = pgzoo.check(e.discounted_to_go, gamma=0.9, seed=100)
    assert found.passed
    assert "c_t = 1" in found.objective
    (remark,) = found.findings
    assert (remark.name, remark.refuses) == ("no-discount-of-time", False)
    assert 0.05 < remark.evidence["bias"] < 0.5
    exact = pgzoo.check(e.discounted_from_the_start, gamma=0.9, seed=100)
    assert exact.objective == "∇J, J = E Σ_t γ^t r_t with γ = 0.9"
    assert exact.findings == ()


def test_other_groups_and_nan_are_remarks():
    def other_group(t):
        r = (t.reward * t.mask).sum(-1).unflatten(1, (-1, t.group_size))
        centred = r - r.roll(1, 1).mean(-1, keepdim=True)
        return centred.flatten(1).unsqueeze(-1).expand(t.mask.shape)

    found = pgzoo.check(other_group, seed=100)
    assert found.passed
    names = {f.name for f in found.findings}
    assert names == {"looks-at-the-past", "other-groups-returns", "nan-in-padding"}


def test_what_cannot_be_decided_does_not_pass(monkeypatch):
    monkeypatch.setattr("pgzoo.lab.check.api.SECONDS", 0.0)
    found = pgzoo.check(e.best_of_the_others, group_size=4, seed=100)
    assert (found.verdict, found.mistakes) == ("not decided", ("not-decided",))
    assert not found.passed


def test_json():
    found = pgzoo.check(e.mean_of_the_replicas, seed=100)
    plain = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert plain["verdict"] == "wrong"
    assert plain["findings"][0]["name"] == "depends-on-other-replicas"
    assert plain["figures"] == {}
    plain = json.loads(json.dumps(pgzoo.check(e.nothing, seed=100).to_json(), allow_nan=False))
    assert plain["passed"] is False
    assert set(plain["figures"]["scale"].values()) == {0.0}


def test_html_is_escaped():
    def psi(t):
        return e.reward_to_go(t)

    psi.__name__ = "<b>"
    html = pgzoo.check(psi, seed=100)._repr_html_()
    assert "&lt;b&gt; is right" in html
    assert "<b>✓" in html


@pytest.mark.parametrize(
    ("agent", "verdict", "name"),
    [
        ("rloo", "right", None),
        ("rloo:group_size=4", "right", None),
        ("reinforce", "right", None),
        ("dr-grpo", "rescaled", "own-sample-in-baseline"),
        ("grpo", "wrong", "whitening-within-group"),
        ("reinforce:psi_scale=rms", "wrong", "whitening-over-the-batch"),
        ("reinforce:aggregation=trajectory-mean", "wrong", "mean-for-sum"),
    ],
)
def test_agents(agent, verdict, name):
    found = pgzoo.check(agent, seed=100)
    assert found.verdict == verdict
    assert name is None or name in found.mistakes


@pytest.mark.parametrize(
    ("estimator", "options", "says"),
    [
        ("ppo", {}, "without a critic"),
        ("reinforce-baseline:baseline=optimal", {}, "trajectories alone"),
        ("nowhere.py:psi", {}, "not found"),
        (e.rloo, {"gamma": 0.0}, "gamma"),
        (e.rloo, {"episodes": 12}, "group_size"),
        (lambda t: e.returns(t), {}, "Expected the estimator to return"),
        (lambda t: t.nothing, {}, "AttributeError"),
    ],
)
def test_what_cannot_be_checked(estimator, options, says):
    with pytest.raises(pgzoo.UsageError, match=says):
        pgzoo.check(estimator, **options)
