// Package trajectory provides the load: agent trajectories in R2E-Gym's JSON lines, problem statements
// of a data set, recorded traces, or trajectories of a deterministic generator, which needs no download.
//
// Read Trajectory first, then rows.go for files, trace.go for recorded traces, and generate.go for the
// generator. It draws numbers (random.go) and fills the templates of vocabulary.yaml (writer.go,
// texts.go).
//
// The package opens only the files that it is given, starts no goroutine, and never puts a trajectory's
// text into an error.
package trajectory

// Trajectory is one run of an agent on one problem.
type Trajectory struct {
	ID      string // unique among those read or generated together
	Problem string // the problem statement; never blank

	// SystemPrompt and InstancePrompt are the templates that the run recorded
	// (agent_args); empty if it recorded none.
	SystemPrompt, InstancePrompt string

	MaxSteps   int      // the step budget that the agent was told; DefaultMaxSteps if unknown
	ExitReason string   // why the run ended, in R2E-Gym's words; empty if unknown
	Reward     *float64 // 1 if the tests passed in the end; nil if unknown
	Steps      []Step   // in order; none if only the problem is known
}

// Step is one turn of the agent and what its environment answered.
type Step struct {
	Thought     string // what the model wrote before its call
	Action      string // the call, rendered by R2E-Gym: <function=…>…</function>
	Observation string // what came back, without the "Steps Remaining" note

	EnvExecSeconds float64 // time the environment took to execute Action
	LLMExecSeconds float64 // time the model of the recorded run took; 0 if unknown

	PromptTokens, CompletionTokens int // as the recorded server counted them; -1 if unknown
}

// DefaultMaxSteps is the step budget if none is recorded: that of the benchmark that this load
// replaces.
const DefaultMaxSteps = 50

// EnvExecSeconds returns the seconds that the environment spent on the first steps, or on all of them
// if steps is 0 or larger than their number.
func (t Trajectory) EnvExecSeconds(steps int) float64 {
	if steps <= 0 || steps > len(t.Steps) {
		steps = len(t.Steps)
	}
	var sum float64
	for _, s := range t.Steps[:steps] {
		sum += s.EnvExecSeconds
	}
	return sum
}
