"""The conflict check of a loaded pack, and what is done about what it finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from rewas_engine.errors import PackError, SettingsError
from rewas_engine.matching.evidence import FrameLoader, VideoMatcher, conflict_report, gather_evidence
from rewas_engine.matching.report import ConflictError, ConflictPolicy, ConflictReport
from rewas_engine.media.probe import ProbedClip
from rewas_engine.runtime.progress import ProgressTracker


@dataclass(frozen=True)
class ConflictCheck:
    """Holds prompts against pictures. matcher: None where the pack has nothing that could."""

    matcher: VideoMatcher | None
    pack_name: str

    def check(
        self, prompt: str, read: ProbedClip, load_estimator_frames: FrameLoader, tracker: ProgressTracker
    ) -> ConflictReport:
        """The verdict; "unsupported" without a matcher. Raises MediaError, Cancelled."""
        if self.matcher is None:
            sentence = f"The pack {self.pack_name} cannot compare words with pictures; nothing was checked."
            return ConflictReport("unsupported", None, sentence)
        frames = self.matcher.load_frames(read, load_estimator_frames, tracker)
        with tracker.stage("conflict"):
            scores = self.matcher.match(
                prompt, read, frames, lambda done, total: tracker.report("conflict", done, total)
            )
            return conflict_report(prompt, gather_evidence(self.matcher, prompt, scores), self.matcher.name)

    def check_policy(self, policy: ConflictPolicy) -> None:
        """Raises SettingsError for a policy that there is not, PackError for one that the pack cannot follow."""
        if policy not in get_args(ConflictPolicy):
            raise SettingsError(
                f"The conflict policy is {policy!r}.", f"Choose one of {', '.join(get_args(ConflictPolicy))}."
            )
        if policy != "off" and self.matcher is None:
            raise PackError(
                f"The pack {self.pack_name} cannot compare words with pictures, and the conflict policy is {policy}.",
                "Choose a pack with a joint space, give a CLIP model, or turn the policy off.",
            )

    def uses_estimator_frames(self, policy: ConflictPolicy) -> bool:
        """Whether what a policy looks at is what the energy is estimated from: then it is worth keeping."""
        return policy != "off" and self.matcher is not None and self.matcher.uses_estimator_frames

    def apply_policy(
        self,
        policy: ConflictPolicy,
        prompt: str,
        read: ProbedClip,
        load_estimator_frames: FrameLoader,
        tracker: ProgressTracker,
    ) -> ConflictReport | None:
        """The verdict that a policy asks for; None where it is off.

        Raises ConflictError where words and picture contradict each other and the policy is to refuse that.
        """
        if policy == "off":
            return None
        report = self.check(prompt, read, load_estimator_frames, tracker)
        if policy == "refuse":
            self.raise_on_conflict(read, report)
        return report

    def raise_on_conflict(self, read: ProbedClip, report: ConflictReport) -> None:
        """Raises ConflictError where the words contradict the picture."""
        if report.verdict == "conflict":
            raise ConflictError(read.name, report)
