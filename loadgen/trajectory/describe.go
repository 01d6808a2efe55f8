package trajectory

import (
	"fmt"
	"io"
	"text/tabwriter"

	"paceline/loadgen/number"
	"paceline/loadgen/stats"
)

// Described is a named list of trajectories for Describe.
type Described struct {
	Name         string
	Trajectories []Trajectory
}

// figure is a published distribution. Zero means unknown.
type figure struct {
	of                       string
	mean, p50, p95, p99, max float64
}

// The sources of published figures.
const (
	sweBench  = "SWE-bench Verified, 500 problems"
	r2eGym    = "R2E-Gym on Qwen3-32B, 23 trajectories, 504 steps"
	miniSWE   = "mini-swe-agent on Gemini 3 Pro, 500 trajectories"
	benchmark = "the benchmark this load stands for, 500 trajectories"
)

// quantities are what Describe compares, with the published figures. The generator's lengths and times
// have the aggregates of the benchmark, whose single steps are not published. Their shapes are those of
// R2E-Gym's runs.
var quantities = []struct {
	name      string
	published []figure
}{
	{"steps", []figure{{benchmark, 47.1, 0, 0, 0, 0}, {r2eGym, 21.9, 28, 0, 0, 0}, {miniSWE, 40.3, 36, 83, 0, 145}}},
	{"problem, tokens", []figure{{sweBench, 470.8, 308, 1348, 2720, 7721}}},
	{"thought, tokens", []figure{{r2eGym, 774, 522, 0, 0, 0}, {miniSWE, 171, 41, 0, 0, 0}}},
	{"action, tokens", []figure{{r2eGym, 89, 65, 235, 0, 0}, {miniSWE, 67, 23, 329, 0, 0}}},
	{"observation, tokens", []figure{{r2eGym, 337, 162, 1116, 0, 3576}, {miniSWE, 301, 82, 1242, 0, 0}}},
	{"env_exec_time of a step, s", []figure{{benchmark, 0.43, 0, 0, 0, 0}, {r2eGym, 0.207, 0.095, 0.516, 2.1, 5.8}}},
	{"env_exec_time of the first 5 steps, s", []figure{{benchmark, 2.149, 0, 0, 0, 0}}},
	{"env_exec_time of all steps, s", []figure{{benchmark, 20.2, 0, 0, 0, 0}}},
}

// Describe writes a block for each quantity: the published figures and those of the trajectories. count
// returns a text's number of tokens; nil estimates it from the mean bytes of Qwen2.5's tokens in such
// texts.
func Describe(w io.Writer, all []Described, count func(text string) int) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name string, values ...float64) {
		_, _ = fmt.Fprintf(t, "  %s", name) // Flush returns the error
		for _, v := range values {
			text := number.Significant(v, 3)
			if v == 0 {
				text = "–"
			}
			_, _ = fmt.Fprintf(t, "\t%s", text)
		}
		_, _ = fmt.Fprintln(t)
	}
	measured := make([]map[string][]float64, len(all))
	for i, d := range all {
		measured[i] = measure(d.Trajectories, count)
	}
	for _, q := range quantities {
		_, _ = fmt.Fprintf(t, "%s\tmean\tP50\tP95\tP99\tmax\n", q.name)
		for _, p := range q.published {
			row(p.of, p.mean, p.p50, p.p95, p.p99, p.max)
		}
		for i, d := range all {
			s := stats.Summarize(measured[i][q.name])
			row(d.Name, s.Mean, s.P50, s.P95, s.P99, s.Max)
		}
	}
	return t.Flush()
}

// measure returns the values of each quantity, one per trajectory or step that has it.
func measure(all []Trajectory, count func(text string) int) map[string][]float64 {
	values := map[string][]float64{}
	add := func(name string, v float64) { values[name] = append(values[name], v) }
	tokens := func(name, text string, bytesPerToken float64) {
		if count == nil {
			add(name, float64(len(text))/bytesPerToken)
		} else {
			add(name, float64(count(text)))
		}
	}
	for _, t := range all {
		tokens("problem, tokens", t.Problem, problemBytesPerToken)
		if len(t.Steps) == 0 {
			continue
		}
		add("steps", float64(len(t.Steps)))
		add("env_exec_time of the first 5 steps, s", t.EnvExecSeconds(5))
		add("env_exec_time of all steps, s", t.EnvExecSeconds(0))
		for _, step := range t.Steps {
			tokens("thought, tokens", step.Thought, thoughtBytesPerToken)
			tokens("action, tokens", step.Action, actionBytesPerToken)
			tokens("observation, tokens", step.Observation, observationBytesPerToken)
			add("env_exec_time of a step, s", step.EnvExecSeconds)
		}
	}
	return values
}
