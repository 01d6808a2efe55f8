package trajectory

// Sizes is what trajectories are made of, one value for each trajectory or step, in
// their order. Lengths are in tokens, times in seconds.
type Sizes struct {
	Problem                      []float64 // of each trajectory
	Steps                        []float64
	FirstFiveSeconds, AllSeconds []float64

	Thought, Action, Observation []float64 // of each step
	ExecSeconds                  []float64
}

// SizesOf measures trajectories. count is a tokenizer's number of tokens of a text; nil
// takes the bytes of each kind of text by what Qwen2.5's tokens of it had on average.
func SizesOf(all []Trajectory, count func(text string) int) Sizes {
	tokens := func(text string, bytesPerToken float64) float64 {
		if count == nil {
			return float64(len(text)) / bytesPerToken
		}
		return float64(count(text))
	}
	var s Sizes
	for _, t := range all {
		s.Problem = append(s.Problem, tokens(t.Problem, problemBytesPerToken))
		if len(t.Steps) == 0 {
			continue
		}
		s.Steps = append(s.Steps, float64(len(t.Steps)))
		s.FirstFiveSeconds = append(s.FirstFiveSeconds, t.EnvExecSeconds(5))
		s.AllSeconds = append(s.AllSeconds, t.EnvExecSeconds(0))
		for _, step := range t.Steps {
			s.Thought = append(s.Thought, tokens(step.Thought, thoughtBytesPerToken))
			s.Action = append(s.Action, tokens(step.Action, actionBytesPerToken))
			s.Observation = append(s.Observation, tokens(step.Observation, observationBytesPerToken))
			s.ExecSeconds = append(s.ExecSeconds, step.EnvExecSeconds)
		}
	}
	return s
}
