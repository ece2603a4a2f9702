"""The conflict check of a loaded pack, and the policy that is applied to its verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.matching.evidence import (
    FrameLoader,
    VideoMatcher,
    conflict_report,
    gather_evidence,
    suggest_labels,
)
from rewas_engine.matching.report import ConflictError, ConflictPolicy, ConflictReport, Suggestion
from rewas_engine.media.probe import ProbedClip
from rewas_engine.runtime.progress import ProgressTracker


@dataclass(frozen=True)
class ConflictCheck:
    """Compares prompts with video. `matcher` is None if no model is available for it."""

    matcher: VideoMatcher | None
    pack_name: str

    def check(
        self, prompt: str, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> ConflictReport:
        """Compare a prompt with a clip; "unsupported" without a matcher. Raises MediaError, Cancelled."""
        if self.matcher is None:
            sentence = f"The pack {self.pack_name} cannot compare prompts with video; nothing was checked."
            return ConflictReport("unsupported", None, sentence)
        frames = self.matcher.load_frames(read, load_estimator_frames, tracker)
        with tracker.stage("conflict"):
            scores = self.matcher.match(
                prompt, read, frames, lambda done, total: tracker.report("conflict", done, total)
            )
            return conflict_report(prompt, gather_evidence(self.matcher, prompt, scores), self.matcher.name)

    def suggest(
        self, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> tuple[Suggestion, ...]:
        """Return prompts that match a clip, best first. Raises PackError without a matcher, MediaError, Cancelled."""
        if self.matcher is None:
            raise PackError(
                f"The pack {self.pack_name} cannot compare prompts with video, so it cannot suggest prompts.",
                "Choose a pack with a joint space, or give a CLIP model.",
            )
        if not self.matcher.labels:
            return ()
        frames = self.matcher.load_frames(read, load_estimator_frames, tracker)
        with tracker.stage("conflict"):
            # The probabilities of the labels do not depend on the prompt.
            scores = self.matcher.match(
                self.matcher.labels[0].text, read, frames, lambda done, total: tracker.report("conflict", done, total)
            )
            return suggest_labels(self.matcher.labels, scores)

    def check_policy(self, policy: ConflictPolicy) -> None:
        """Validate a policy before any work starts.

        Raises:
            SettingsError: The policy is unknown.
            PackError: The pack cannot follow the policy.
        """
        if policy not in get_args(ConflictPolicy):
            raise SettingsError(
                f"The conflict policy is {policy!r}.", f"Choose one of {', '.join(get_args(ConflictPolicy))}."
            )
        if policy != "off" and self.matcher is None:
            raise PackError(
                f"The pack {self.pack_name} cannot compare prompts with video, and the conflict policy is {policy}.",
                "Choose a pack with a joint space, give a CLIP model, or turn the policy off.",
            )

    def uses_estimator_frames(self, policy: ConflictPolicy) -> bool:
        """Return whether the check reads the frames that the energy is estimated from, so that keeping them pays."""
        return policy != "off" and self.matcher is not None and self.matcher.uses_estimator_frames

    def apply_policy(
        self,
        policy: ConflictPolicy,
        prompt: str,
        read: ProbedClip,
        load_estimator_frames: FrameLoader,
        tracker: ProgressTracker,
    ) -> ConflictReport | None:
        """Run the check that a policy requires; returns None if it is "off".

        Raises:
            ConflictError: The prompt contradicts the video and the policy is "refuse".
        """
        if policy == "off":
            return None
        report = self.check(prompt, read, load_estimator_frames, tracker)
        if policy == "refuse":
            self.raise_on_conflict(read, report)
        return report

    def raise_on_conflict(self, read: ProbedClip, report: ConflictReport) -> None:
        """Raise ConflictError if the verdict is "conflict"."""
        if report.verdict == "conflict":
            raise ConflictError(read.name, report)
