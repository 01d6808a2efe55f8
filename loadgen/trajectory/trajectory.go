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
	Reward     *float64 // 1 if the tests passed in the end; nil if nobody looked
	Steps      []Step   // in order; none if only the problem is known
}

// Step is one turn of the agent and what its environment answered.
type Step struct {
	Thought     string // what the model wrote before its call
	Action      string // the call, rendered by R2E-Gym: <function=…>…</function>
	Observation string // what came back, without the "Steps Remaining" note

	EnvExecSeconds float64 // time the environment took to execute Action
	LLMExecSeconds float64 // time the recorded run's model took; 0 if unknown

	// PromptTokens and CompletionTokens are the recorded server's counts; -1
	// if unknown.
	PromptTokens, CompletionTokens int
}

// DefaultMaxSteps is the budget where none is recorded: that of the benchmark
// which this load replaces.
const DefaultMaxSteps = 50

// EnvExecSeconds is the time that the environment spent on the first steps
// steps, in seconds; on all of them if steps is 0 or more than there are. A
// figure made of it should say which steps it covers.
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
