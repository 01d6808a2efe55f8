package shard

import (
	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
)

// The paths; all are POST.
const (
	pathJoin   = "/v1/join"   // once, at first
	pathNext   = "/v1/next"   // waits for what to do next
	pathResult = "/v1/result" // what a pass measured
	pathFailed = "/v1/failed" // the member gives up
	pathAlive  = "/v1/alive"  // while a pass runs
)

// Bounds of what is read.
const (
	mostWords  = 1 << 20   // bytes of any message but a result
	mostResult = 256 << 20 // bytes of a result: a few kilobytes and its requests
)

// joining is what a member says of itself.
type joining struct {
	Shard  int    `json:"shard"`
	Of     int    `json:"of"`
	Member string `json:"member"` // random: a process that was started again is another

	Facts   []sweep.Fact    `json:"facts"`   // flags: those of the coordinator
	Prompts []sweep.Fact    `json:"prompts"` // of the whole load: those of every member
	Source  report.Source   `json:"source"`  // of the whole load
	EnvExec *report.EnvExec `json:"env_exec,omitempty"`
}

// joined is the answer.
type joined struct {
	Speed          float64 `json:"speed"`           // seconds of the report per real second
	TimeoutSeconds float64 `json:"timeout_seconds"` // a member not heard of for so long is lost
}

// about is what every later message begins with.
type about struct {
	Shard  int    `json:"shard"`
	Member string `json:"member"`
	Step   int    `json:"step"` // that it has ended, or that the message is of
}

// step is one thing to do, the same for all.
type step struct {
	Number int      `json:"number"` // from 1
	Kind   stepKind `json:"kind"`

	// Of a pass.
	Setting    int         `json:"setting"` // index in the plan's
	Phase      sweep.Phase `json:"phase,omitempty"`
	Repeat     int         `json:"repeat,omitempty"`
	Pass       int         `json:"pass,omitempty"`
	Passes     int         `json:"passes,omitempty"`
	Unmeasured bool        `json:"unmeasured,omitempty"`
}

type stepKind string

const (
	stepWarmUp stepKind = "warm-up"
	stepPass   stepKind = "pass"
	stepEnd    stepKind = "end"
)

// result is what a member measured.
type result struct {
	about
	Run      *report.Run      `json:"run,omitempty"` // absent after a warm-up
	Requests []report.Request `json:"requests,omitempty"`
}

type failed struct {
	about
	Error string `json:"error"`
}

// refusal is the body of every answer that is not 200.
type refusal struct {
	Error string `json:"error"`
}
