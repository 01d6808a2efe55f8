// Package report is what a sweep found, and every form in which it is told.
//
// One Report value holds all facts; results.json is that value. What follows
// from the facts (medians, ranks, findings) is derived from it by pure functions
// (cells.go, findings.go), so that every format says the same. markdown.go and
// terminal.go only lay it out.
//
// The package sends nothing and measures nothing.
package report

import (
	"time"

	"paceline/loadgen/stats"
)

// FormatVersion is the version of results.json. Fields are only added within
// one version.
const FormatVersion = 1

// Report is everything known about one sweep. All seconds are those of the
// server's clock: simulated seconds where Simulated is set.
type Report struct {
	FormatVersion int       `json:"format_version"`
	CreatedAt     time.Time `json:"created_at"`
	Version       string    `json:"version"` // of loadgen: the commit

	Simulated  bool        `json:"simulated"` // no model ran: the server is a simulator
	Simulation *Simulation `json:"simulation,omitempty"`

	Partial       bool   `json:"partial"` // the sweep was cut short
	PartialReason string `json:"partial_reason,omitempty"`

	Environment Environment `json:"environment"`
	Source      Source      `json:"source"`
	Server      Server      `json:"server"`
	Config      Config      `json:"config"`
	EnvExec     *EnvExec    `json:"env_exec,omitempty"` // absent where the source knows none
	Runs        []Run       `json:"runs"`               // in the order in which they ran
	Files       []string    `json:"files"`              // written beside this report
}

// Simulation says how a server was simulated.
type Simulation struct {
	Profile string  `json:"profile"`
	Origin  string  `json:"origin"` // where the profile's numbers come from
	Speed   float64 `json:"speed"`  // simulated seconds per real second
}

// Environment is the machine that sent the load.
type Environment struct {
	GoVersion string   `json:"go_version"`
	OS        string   `json:"os"`
	Arch      string   `json:"arch"`
	CPUs      int      `json:"cpus"`
	Args      []string `json:"args"` // the command line's flags
}

// Source is where the prompts come from.
type Source struct {
	Kind             string `json:"kind"`           // generated, trajectories or problems
	File             string `json:"file,omitempty"` // base name
	Seed             uint64 `json:"seed,omitempty"` // of generated ones
	Template         string `json:"template"`       // which system and instance prompt
	Count            int    `json:"count"`          // trajectories sent at each setting
	PromptBytesTotal int64  `json:"prompt_bytes_total"`
}

// Server is what the proxy knows of SGLang. Zero and empty mean not told.
type Server struct {
	URL                  string   `json:"url"`
	Version              string   `json:"version"`
	Model                string   `json:"model"`
	Device               string   `json:"device"`
	LoadSeconds          *float64 `json:"load_seconds,omitempty"`
	MaxPromptTokens      uint64   `json:"max_prompt_tokens"`
	KVCacheTokens        uint64   `json:"kv_cache_tokens"`
	ChunkedPrefillTokens uint64   `json:"chunked_prefill_tokens"`
	SchedulePolicy       string   `json:"schedule_policy"`
}

// Config is what was the same at every setting.
type Config struct {
	Concurrency    int     `json:"concurrency"`   // callers of the closed loop
	MaxInFlight    int     `json:"max_in_flight"` // batches at SGLang at once
	MaxWaitSeconds float64 `json:"max_wait_seconds"`
	MaxNewTokens   int     `json:"max_new_tokens"`
	Repeats        int     `json:"repeats"`
	Seed           uint64  `json:"seed"` // of the random order of the settings
}

// EnvExec is the time that the trajectories' environments took for the agent's
// actions. It is part of the data and not of the load.
type EnvExec struct {
	Trajectories     int     `json:"trajectories"`
	Steps            int     `json:"steps"`              // all steps of them
	MeanSeconds      float64 `json:"mean_seconds"`       // per trajectory, all steps
	TotalSeconds     float64 `json:"total_seconds"`      // all steps
	FirstFiveMean    float64 `json:"first_5_steps_mean"` // seconds per trajectory, its first five steps only
	FirstFiveTotal   float64 `json:"first_5_steps_total"`
	MeanSecondsAStep float64 `json:"mean_seconds_a_step"`
}

// Run is one pass of all prompts at one setting.
type Run struct {
	Setting   string    `json:"setting"`    // the batch size, "unbatched" or "direct"
	Mode      string    `json:"mode"`       // fixed, unbatched or direct
	BatchSize int       `json:"batch_size"` // 0 for unbatched and direct
	Phase     string    `json:"phase"`      // cold: the cache was flushed before; warm: after a pass of the same prompts
	Repeat    int       `json:"repeat"`     // from 1
	StartedAt time.Time `json:"started_at"`

	Total     int            `json:"total"`     // prompts
	Completed int            `json:"completed"` // answers received in full
	Failed    int            `json:"failed"`    // ended with an error; the rest was not sent
	Errors    map[string]int `json:"errors,omitempty"`
	Complete  bool           `json:"complete"` // all were answered

	WallSeconds          float64 `json:"wall_seconds"`       // from the first send to the last end
	RequestThroughput    float64 `json:"request_throughput"` // completed / wall_seconds
	InputTokenThroughput float64 `json:"input_token_throughput"`

	PromptTokens int64 `json:"prompt_tokens"` // as the server counted, of completed prompts
	CachedTokens int64 `json:"cached_tokens"` // of these, from its prefix cache

	Batches            int            `json:"batches"`              // by the receipts; 0 for direct
	EffectiveBatchSize float64        `json:"effective_batch_size"` // completed / batches; 0 for direct
	ReleaseReasons     map[string]int `json:"release_reasons,omitempty"`

	Latency   stats.Summary `json:"latency_seconds"`    // from send to answer: TTFT and E2E in one, at 0 or 1 new tokens
	QueueWait stats.Summary `json:"queue_wait_seconds"` // in the proxy; empty for direct

	ServerUncachedTokens *int64   `json:"server_uncached_tokens,omitempty"` // computed, by the server's own count
	ServerBusySeconds    *float64 `json:"server_busy_seconds,omitempty"`    // spent on that, by its own clock
}

// CachedShare is the share of the prompt tokens that came from the cache.
func (r Run) CachedShare() float64 {
	if r.PromptTokens == 0 {
		return 0
	}
	return float64(r.CachedTokens) / float64(r.PromptTokens)
}
