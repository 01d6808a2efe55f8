// Package report holds the facts of a sweep and the files that store them: results.json and
// requests.jsonl.
//
// A Report is what was measured. Package report/figures derives tables, ranks and decisions from it,
// and package report/render writes them for readers. Imports point only that way: render → figures →
// report. To add a column, see package render.
//
// Read report.go and run.go (the facts) first, then requests.go (single requests), search.go (the
// objective of loadgen find) and settle.go and json.go (how they are stored).
package report

import (
	"time"

	"paceline/loadgen/plausibility"
)

// FormatVersion is the version of results.json. Within one version, fields are only added.
const FormatVersion = 1

// Report is everything known about one sweep. Seconds are seconds of the server's clock: simulated
// seconds if Simulated is set, unless a field says real.
type Report struct {
	FormatVersion int       `json:"format_version"` // of this file; FormatVersion
	CreatedAt     time.Time `json:"created_at"`     // real time, even if simulated
	Version       string    `json:"version"`        // of loadgen: the commit

	ProxyVersion string `json:"proxy_version,omitempty"` // of the proxy, from its status

	Simulated  bool        `json:"simulated"` // no model ran: the server is a simulator
	Simulation *Simulation `json:"simulation,omitempty"`

	Partial       bool   `json:"partial"`                  // the sweep was cut short; Runs holds what was measured before
	PartialReason string `json:"partial_reason,omitempty"` // why it was cut short; absent if it was not

	Resumed []time.Time `json:"resumed_at,omitempty"` // when the sweep was resumed, after its end or after it was cut short; real time

	Environment Environment `json:"environment"`
	Source      Source      `json:"source"`
	Server      Server      `json:"server"`
	Config      Config      `json:"config"`
	Limits      *Limits     `json:"limits,omitempty"`   // absent if no device was named
	Tracing     *Tracing    `json:"tracing,omitempty"`  // absent if nothing was traced
	EnvExec     *EnvExec    `json:"env_exec,omitempty"` // absent if the source has none
	Runs        []Run       `json:"runs"`               // in the order in which they ran
	Files       []string    `json:"files"`              // written beside this report
}

// Simulation describes how a server was simulated.
type Simulation struct {
	Profile string  `json:"profile"` // its name
	Origin  string  `json:"origin"`  // where the profile's numbers come from
	Speed   float64 `json:"speed"`   // simulated seconds per real second; 0: virtual time, which only the simulator takes
}

// Environment is the machine that sent the load.
type Environment struct {
	GoVersion string   `json:"go_version"`           // that built loadgen
	OS        string   `json:"os"`                   // as Go names it: linux
	OSVersion string   `json:"os_version,omitempty"` // the distribution and its kernel; absent if unknown
	Arch      string   `json:"arch"`                 // as Go names it: amd64
	CPUs      int      `json:"cpus"`                 // that the process may use
	CPUModel  string   `json:"cpu_model,omitempty"`  // the processor's name; absent if unknown
	Args      []string `json:"args"`                 // the command line's flags
}

// Source is where the prompts come from.
type Source struct {
	Kind     string `json:"kind"`               // generated, trajectories, problems, trace or states
	File     string `json:"file,omitempty"`     // as it was given
	Seed     uint64 `json:"seed,omitempty"`     // of generated ones
	Template string `json:"template"`           // which system and instance prompt
	Count    int    `json:"count"`              // trajectories sent at each setting
	Requests int    `json:"requests,omitempty"` // prompts of one run: count times rollouts, or more with further turns; 0: as count
	Turns    int    `json:"turns,omitempty"`    // maximum per trajectory; 0: all (if requests is absent, only the first)
	Rollouts int    `json:"rollouts,omitempty"` // copies of each trajectory

	// Of states, whose count is count.
	Questions      int `json:"questions,omitempty"`       // about each
	StateTokens    int `json:"state_tokens,omitempty"`    // in each
	QuestionTokens int `json:"question_tokens,omitempty"` // in each question

	EnvScale         float64 `json:"env_scale,omitempty"`           // of the environment's time between turns
	PromptBytesTotal int64   `json:"prompt_bytes_total"`            // of all prompts of one run
	SharedBytes      int64   `json:"shared_prefix_bytes,omitempty"` // of these, the result of SharedPrefixBytes; 0: unknown
	TokenRatio       float64 `json:"token_ratio,omitempty"`         // median, at the warm-up: prompt tokens counted / recorded; 0: unknown
}

// Server is what the proxy knows about SGLang. Zero and empty values mean unknown.
type Server struct {
	URL                  string   `json:"url"`                    // without credentials
	Version              string   `json:"version"`                // of SGLang
	Model                string   `json:"model"`                  // its served name
	ModelPath            string   `json:"model_path,omitempty"`   // base name
	Device               string   `json:"device"`                 // its accelerator
	LoadSeconds          *float64 `json:"load_seconds,omitempty"` // loading the weights
	MaxPromptTokens      uint64   `json:"max_prompt_tokens"`      // of one prompt
	KVCacheTokens        uint64   `json:"kv_cache_tokens"`        // capacity of its KV cache
	ChunkedPrefillTokens uint64   `json:"chunked_prefill_tokens"` // maximum of one forward
	SchedulePolicy       string   `json:"schedule_policy"`        // of its scheduler: fcfs, lpm
	TextsSent            string   `json:"texts_sent,omitempty"`   // how the proxy sends texts to it, and why
}

// Config is what was the same at every setting.
type Config struct {
	Work        string   `json:"work,omitempty"` // score, decide or generate; absent: prefill
	Settings    []string `json:"settings"`       // planned, by their names in runs; taken from runs if empty
	Concurrency int      `json:"concurrency"`    // callers of the closed loop

	Arrival       *Arrival `json:"arrival,omitempty"`         // of an open loop; absent for the closed one
	WarmUpPrompts int      `json:"warm_up_prompts,omitempty"` // sent once before the first run, and measured in none

	MaxInFlight    int     `json:"max_in_flight"`    // batches at SGLang at once; for fixed sizes
	MaxWaitSeconds float64 `json:"max_wait_seconds"` // longest wait for a batch to fill; for fixed sizes
	MaxNewTokens   int     `json:"max_new_tokens"`   // tokens to generate for each prompt: 0 or 1 in a prefill
	Repeats        int     `json:"repeats"`          // planned for each setting and phase
	Seed           uint64  `json:"seed"`             // of the random order of the settings

	// What the settings vary besides the size. A list has one value if its dimension does not vary.
	// max_in_flight and max_wait_seconds hold the first values.
	MaxInFlights    []int     `json:"max_in_flights,omitempty"`    // batches at SGLang at once
	MaxWaitsSeconds []float64 `json:"max_waits_seconds,omitempty"` // longest waits for a batch to fill
	Orders          []string  `json:"orders,omitempty"`            // fifo, prefix
	Phases          []string  `json:"phases,omitempty"`            // cold, warm

	CostPerHour float64 `json:"cost_per_hour,omitempty"` // of the server, in USD; 0: unknown

	Objective *Objective `json:"objective,omitempty"` // of loadgen find; absent in a sweep

	StopWhen float64 `json:"stop_when,omitempty"` // share: repeats of a setting stopped once its interval was within it; 0: never
}

// Arrival says when the conversations of an open loop begin. It is the same for all settings of a
// repeat.
type Arrival struct {
	Process    string  `json:"process"`               // constant, poisson or recorded
	Rate       float64 `json:"rate,omitempty"`        // conversations per second; groups of copies where there are rollouts
	TraceSpeed float64 `json:"trace_speed,omitempty"` // of recorded: how much faster than recorded

	MostOutstanding  int     `json:"most_outstanding"`   // conversations under way at once
	WhenFull         string  `json:"when_full"`          // drop or wait: what happens to a conversation due beyond that
	WarmUpSeconds    float64 `json:"warm_up_seconds"`    // requests due in this first part of a run are in no figure
	LateAfterSeconds float64 `json:"late_after_seconds"` // a request sent later than this counts as late
}

// EnvExec is the time that the trajectories' environments took to execute the agent's actions. It is
// part of the data, not of the load, and is never simulated.
type EnvExec struct {
	Trajectories     int     `json:"trajectories"`        // that have steps
	Steps            int     `json:"steps"`               // all steps of them
	StepsCovered     string  `json:"steps_covered"`       // by mean_seconds and total_seconds: always "all"
	MeanSeconds      float64 `json:"mean_seconds"`        // per trajectory, all steps
	TotalSeconds     float64 `json:"total_seconds"`       // all steps
	FirstFiveMean    float64 `json:"first_5_steps_mean"`  // seconds per trajectory, its first five steps only
	FirstFiveTotal   float64 `json:"first_5_steps_total"` // seconds, the first five steps of each only
	MeanSecondsAStep float64 `json:"mean_seconds_a_step"` // over all steps
}

// Limits is the device and model that a report is judged against.
type Limits struct {
	Device plausibility.Device `json:"device"`
	Model  plausibility.Model  `json:"model"`
}

// Tracing says where the traces of a sweep are.
type Tracing struct {
	URL     string `json:"url"`     // of a trace, without its id
	Sampler string `json:"sampler"` // which requests are traced, in the words of OTEL_TRACES_SAMPLER
}
