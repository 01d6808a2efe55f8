package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/report/render"
	"paceline/loadgen/sweep"
	"paceline/loadgen/trajectory"
	pb "paceline/proto/paceline/v1"
)

// newReport fills in everything that is known before the first run.
func newReport(o options, plan sweep.Plan, source report.Source, env *report.EnvExec, status *pb.GetStatusResponse) report.Report {
	up := status.GetUpstream()
	r := report.Report{
		FormatVersion: report.FormatVersion,
		CreatedAt:     time.Now(),
		Version:       version(),
		ProxyVersion:  status.GetVersion(),
		Simulated:     up.GetSimulated(),
		Environment: report.Environment{
			GoVersion: runtime.Version(), OS: runtime.GOOS, OSVersion: osVersion(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPUModel: cpuModel(), Args: o.args,
		},
		Source: source,
		Server: report.Server{
			URL: up.GetUrl(), Version: up.GetVersion(), Model: up.GetModel(), Device: up.GetDevice(), LoadSeconds: up.LoadSeconds,
			MaxPromptTokens: up.GetMaxPromptTokens(), KVCacheTokens: up.GetKvCacheTokens(),
			ChunkedPrefillTokens: up.GetChunkedPrefillTokens(), SchedulePolicy: up.GetSchedulePolicy(),
			TextsSent: up.GetTextsSent(), ModelPath: baseName(up.GetModelPath()),
		},
		Config: report.Config{
			Concurrency: o.concurrency, MaxNewTokens: int(o.maxNewTokens), Repeats: o.repeats, Seed: o.seed, StopWhen: plan.StopWhen,
			Arrival: arrivalOf(plan.Arrival),
		},
		EnvExec: env,
	}
	if plan.Arrival.Open() { // nobody waits for an answer to send
		r.Config.Concurrency = 0
	}
	dimensions(&r.Config, plan)
	if o.shard.Of > 0 {
		r.Shard = &report.Shard{Index: o.shard.Index, Of: o.shard.Of}
	}
	r.Limits, _ = o.limits() // validated
	for _, setting := range plan.Settings {
		r.Config.Settings = append(r.Config.Settings, setting.Name())
	}
	if sim := up.GetSimulator(); sim != nil {
		r.Simulation = &report.Simulation{Profile: sim.GetProfile(), Origin: sim.GetOrigin(), Speed: sim.GetSpeed()}
	}
	return r
}

// dimensions tell what the plan's settings vary.
func dimensions(c *report.Config, plan sweep.Plan) {
	for i, s := range plan.Settings {
		if i == 0 {
			c.MaxInFlight, c.MaxWaitSeconds = s.MaxInFlight, s.MaxWait.Seconds()
		}
		if s.Mode != sweep.ModeFixed {
			continue
		}
		c.MaxInFlights, c.MaxWaitsSeconds, c.Orders = with(c.MaxInFlights, s.MaxInFlight), with(c.MaxWaitsSeconds, s.MaxWait.Seconds()), with(c.Orders, string(s.Order))
	}
	for _, phase := range plan.Phases {
		c.Phases = append(c.Phases, string(phase))
	}
}

// with is the list with v in it.
func with[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// serverFacts are what a sweep that goes on must find again.
func serverFacts(r report.Report) []sweep.Fact {
	return []sweep.Fact{
		{Name: "SGLang's version", Value: r.Server.Version}, {Name: "model", Value: r.Server.Model}, {Name: "device", Value: r.Server.Device},
		{Name: "simulated", Value: strconv.FormatBool(r.Simulated)},
	}
}

// baseName is a path's last element: the rest says where things lie on a machine.
func baseName(path string) string {
	if path == "" {
		return ""
	}
	return filepath.Base(path)
}

// envExec sums the execution times of the trajectories; nil where no trajectory
// has a step.
func envExec(trajectories []trajectory.Trajectory) *report.EnvExec {
	const few = 5
	e := &report.EnvExec{}
	for _, t := range trajectories {
		if len(t.Steps) == 0 {
			continue
		}
		e.Trajectories++
		e.Steps += len(t.Steps)
		e.TotalSeconds += t.EnvExecSeconds(0)
		e.FirstFiveTotal += t.EnvExecSeconds(few)
	}
	if e.Trajectories == 0 {
		return nil
	}
	e.MeanSeconds = e.TotalSeconds / float64(e.Trajectories)
	e.FirstFiveMean = e.FirstFiveTotal / float64(e.Trajectories)
	e.MeanSecondsAStep = e.TotalSeconds / float64(e.Steps)
	return e
}

// announce says on the terminal what is about to be measured.
func announce(r report.Report, out string) {
	server := fmt.Sprintf("SGLang %s at %s, model %s on %s", r.Server.Version, r.Server.URL, r.Server.Model, r.Server.Device)
	if r.Simulated {
		server = "SIMULATED SGLang"
		if sim := r.Simulation; sim != nil {
			server += fmt.Sprintf(", profile %s (%s), %g simulated seconds a real one", sim.Profile, sim.Origin, sim.Speed)
		}
	}
	inFlight := make([]string, len(r.Config.MaxInFlights))
	for i, n := range r.Config.MaxInFlights {
		inFlight[i] = strconv.Itoa(n)
	}
	part := ""
	if r.Shard != nil {
		part = fmt.Sprintf("shard %d of %d of ", r.Shard.Index, r.Shard.Of)
	}
	fmt.Fprintf(os.Stderr, "%s\n%s%d prompts; %s\nat most %s batches in flight, %d settings, %d repeat(s); writing to %s\n\n",
		server, part, r.Source.Requests, render.Load(r.Config, render.English), strings.Join(inFlight, " or "), len(r.Config.Settings), r.Config.Repeats, out)
}
