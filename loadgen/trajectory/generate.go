package trajectory

import (
	"crypto/sha256"
	"iter"
	"slices"
	"strconv"
)

// firstNumber is the number of the first generated issue.
const firstNumber = 1001

// Generate makes n trajectories with the statistics of random.go. No two problems are alike. The same
// seed gives the same bytes on every machine, and a larger n only adds trajectories. 500 of them hold
// about 45 MB of text. Reward, token counts and the model's times stay unknown, because only a real run
// has them.
func Generate(n int, seed uint64) []Trajectory { return slices.Collect(Generated(n, seed)) }

// Generated makes the trajectories of Generate one by one, and keeps none.
func Generated(n int, seed uint64) iter.Seq[Trajectory] {
	return func(yield func(Trajectory) bool) {
		seen := make(map[[sha256.Size]byte]bool)
		projects := texts().Projects
		for i := range n {
			project := projects[i%len(projects)]
			id := project + "__" + project + "-" + strconv.Itoa(firstNumber+i)
			g := generator{seed, id, newSubject(project, newStream(seed, id, "subject"))}
			problem := g.problem(seen)
			seen[sha256.Sum256([]byte(problem))] = true
			if !yield(g.trajectory(problem)) {
				return
			}
		}
	}
}

// generator makes one trajectory.
type generator struct {
	seed    uint64
	id      string
	subject map[string]string
}

func (g generator) writer(field string) *writer {
	return &writer{stream: newStream(g.seed, g.id, field), vocabulary: texts(), subject: g.subject}
}

// problem makes a statement that is not among those seen. Only very short ones need a second draw.
func (g generator) problem(seen map[[sha256.Size]byte]bool) string {
	w := g.writer("problem")
	size := problemTokens.bytes(w.stream, problemBytesPerToken)
	for {
		w.problem(size)
		if text := w.pop(); !seen[sha256.Sum256([]byte(text))] {
			return text
		}
	}
}

func (g generator) trajectory(problem string) Trajectory {
	t := Trajectory{
		ID: g.id, Problem: problem, MaxSteps: DefaultMaxSteps, ExitReason: "agent",
		Steps: make([]Step, stepCount(newStream(g.seed, g.id, "steps"))),
	}
	if len(t.Steps) == DefaultMaxSteps {
		t.ExitReason = "max_step_limit"
	}
	durations := newStream(g.seed, g.id, "env")
	thought, action, observation := g.writer("thought"), g.writer("action"), g.writer("observation")
	for i := range t.Steps {
		kind, seconds := execution(durations)
		submits := i == len(t.Steps)-1 && t.ExitReason == "agent"
		if submits {
			kind, seconds = testWork, idleSeconds
		}
		thought.thought(kind, thoughtTokens.bytes(thought.stream, thoughtBytesPerToken))
		if submits {
			action.expand(action.Call["submit"] + "</function>")
			observation.write("<<< Finished >>>")
		} else {
			tool := action.action(kind, actionTokens.bytes(action.stream, actionBytesPerToken))
			observation.output(tool, kind, observationTokens.bytes(observation.stream, observationBytesPerToken))
		}
		t.Steps[i] = Step{
			Thought: thought.pop(), Action: action.pop(), Observation: observation.pop(),
			EnvExecSeconds: seconds, PromptTokens: -1, CompletionTokens: -1,
		}
	}
	return t
}
