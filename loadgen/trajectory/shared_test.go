package trajectory

import (
	"math"
	"os"
	"path/filepath"
	"testing"
)

// sharedData finds a file that lies beside the repository, in ../shared/data
// seen from its root, and skips the test where it is absent.
func sharedData(t *testing.T, name string) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Skip("not inside the repository")
		}
		dir = parent
	}
	path := filepath.Join(dir, "..", "shared", "data", name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("shared data %s is absent", name)
	}
	return path
}

func TestRealTrajectoriesAreRead(t *testing.T) {
	got, err := ReadFile(sharedData(t, "r2egym_trajectories_15.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	steps, first := 0, got[0]
	for _, tr := range got {
		steps += len(tr.Steps)
		if tr.SystemPrompt == "" || tr.InstancePrompt == "" || tr.MaxSteps != 30 || tr.ExitReason == "" || tr.Reward != nil {
			t.Errorf("%s: a field of the trajectory is missing", tr.ID)
		}
		for i, s := range tr.Steps {
			if s.Action == "" || s.Observation == "" || s.PromptTokens <= 0 || s.CompletionTokens <= 0 || s.LLMExecSeconds <= 0 {
				t.Errorf("%s: a field of step %d is missing", tr.ID, i)
			}
		}
	}
	if len(got) != 15 || steps != 342 {
		t.Errorf("%d trajectories with %d steps, want 15 with 342", len(got), steps)
	}
	if first.ID != "aiohttp_006fbe03" || first.Steps[0].PromptTokens != 2680 || math.Abs(first.EnvExecSeconds(1)-0.5169) > 1e-4 {
		t.Errorf("first: ID %s, %d tokens, %v s", first.ID, first.Steps[0].PromptTokens, first.EnvExecSeconds(1))
	}
}

func TestRealProblemsAreRead(t *testing.T) {
	got, err := ReadProblems(sharedData(t, "swe_verified_500.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, tr := range got {
		ids[tr.ID] = true
	}
	if len(got) != 500 || len(ids) != 500 || got[0].ID != "astropy__astropy-12907" || len(got[0].Steps) != 0 {
		t.Errorf("%d problems, %d IDs, first %s", len(got), len(ids), got[0].ID)
	}
}
