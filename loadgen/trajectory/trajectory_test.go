package trajectory

import "testing"

func TestEnvExecSecondsCoversTheFirstStepsOrAll(t *testing.T) {
	tr := Trajectory{Steps: []Step{{EnvExecSeconds: 1}, {EnvExecSeconds: 2}, {EnvExecSeconds: 4}}}
	for steps, want := range map[int]float64{-1: 7, 0: 7, 1: 1, 2: 3, 3: 7, 50: 7} {
		if got := tr.EnvExecSeconds(steps); got != want {
			t.Errorf("first %d steps: %v s, want %v s", steps, got, want)
		}
	}
	if got := (Trajectory{}).EnvExecSeconds(5); got != 0 {
		t.Errorf("without steps: %v s, want 0", got)
	}
}
