package command

import (
	"io"
	"strings"
	"testing"

	"paceline/loadgen/report"
)

func TestEachWorkIsMeasuredThroughTheProxyAndStraight(t *testing.T) {
	for work, args := range map[string]string{
		"score":    "-n 4 -questions 5 -state-tokens 600 -question-tokens 20",
		"decide":   "-n 4 -questions 5 -state-tokens 600 -question-tokens 20",
		"generate": "-n 2 -rollouts 10 -max-new-tokens 3",
	} {
		t.Run(work, func(t *testing.T) {
			t.Parallel()
			out := t.TempDir()
			e := loadgen(t, append(strings.Fields("-work "+work+" -repeats 1 -out "+out), strings.Fields(args)...)...)
			if e.status != 0 {
				t.Fatalf("status %d: %s", e.status, e.stderr)
			}
			r := readReport(t, out)
			if got := strings.Join(report.Settings(r.Runs), "; "); got != "16, fifo; 16, prefix; direct" || r.Config.Work != work ||
				len(r.Runs) != 6 {
				t.Errorf("%d runs of %q at %q", len(r.Runs), r.Config.Work, got)
			}
			for _, run := range r.Runs {
				if run.Total != 20 || run.Completed != 20 || run.CachedUnknown || run.PromptTokens < 20*600 {
					t.Errorf("got %+v", run)
				}
				if share := run.CachedShare(); run.Phase == "warm" && share < 0.95 {
					t.Errorf("%s: %.2f cached when warm", run.Setting, share)
				}
				if streamed := run.TTFT != nil && run.TTFT.Count == 20 && run.OutputTokens == 60; streamed != (work == "generate") {
					t.Errorf("%s: first tokens %+v, %d output tokens", run.Setting, run.TTFT, run.OutputTokens)
				}
				// Of each state 4 of 5 questions find it cached; of two problems that begin alike, all but 2 of 20 copies.
				if run.Setting == "16, prefix" && run.Phase == "cold" && run.CachedShare() < 0.7 {
					t.Errorf("%.2f cached with each prefix read once", run.CachedShare())
				}
			}
			unit := map[bool]string{true: "requests/s", false: "questions/s"}[work == "generate"]
			if !strings.Contains(e.stdout, unit) || !strings.Contains(e.stdout, "straight to SGLang") {
				t.Errorf("the summary lacks %s or the gain: %s", unit, e.stdout)
			}
		})
	}
}

func TestOnlyTheDefaultLoadIsFollowedBySharedStates(t *testing.T) {
	for args, want := range map[string]bool{
		"": true, "-out x -lang zh": true, "-n 500": false, "-sglang http://127.0.0.1:1": false, "-work score": false,
	} {
		if o, err := parseOptions(strings.Fields(args), io.Discard); err != nil || o.plain != want {
			t.Errorf("%q: %v, %v", args, o.plain, err)
		}
	}
	if _, err := parseOptions(sharedStates, io.Discard); err != nil {
		t.Error(err)
	}
}

func TestAWorkThatDoesNotFitItsFlagsIsRefused(t *testing.T) {
	for args, want := range map[string]string{
		"-work tea":                             "-work: ",
		"-work score -rollouts 8":               "-rollouts",
		"-work score -max-new-tokens 8":         "-max-new-tokens: ",
		"-work generate -max-new-tokens 0":      "-max-new-tokens: ",
		"-work decide -questions 0":             "-questions: ",
		"-work score -target a -target-admin b": "-target-http",
		"-target-http http://a":                 "-target-http: ",
	} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
