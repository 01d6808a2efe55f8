package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"paceline/loadgen/report"
	"paceline/loadgen/sweep"
	"paceline/loadgen/trajectory"
)

// newReport fills in everything that is known before the first run.
func newReport(o options, plan sweep.Plan, l load, s *stack) report.Report {
	up := s.status.GetUpstream()
	r := report.Report{
		FormatVersion: report.FormatVersion,
		CreatedAt:     time.Now(),
		Version:       version(),
		ProxyVersion:  s.status.GetVersion(),
		Simulated:     up.GetSimulated(),
		Environment: report.Environment{
			GoVersion: runtime.Version(), OS: runtime.GOOS, OSVersion: osVersion(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(), CPUModel: cpuModel(), Args: o.args,
		},
		Source: l.source,
		Server: report.Server{
			URL: up.GetUrl(), Version: up.GetVersion(), Model: up.GetModel(), Device: up.GetDevice(), LoadSeconds: up.LoadSeconds,
			MaxPromptTokens: up.GetMaxPromptTokens(), KVCacheTokens: up.GetKvCacheTokens(),
			ChunkedPrefillTokens: up.GetChunkedPrefillTokens(), SchedulePolicy: up.GetSchedulePolicy(),
			TextsSent: up.GetTextsSent(), ModelPath: baseName(up.GetModelPath()),
		},
		Config: report.Config{
			Concurrency: o.concurrency, MaxInFlight: o.maxInFlight, MaxWaitSeconds: o.maxWait.Seconds(),
			MaxNewTokens: int(o.maxNewTokens), Repeats: o.repeats, Seed: o.seed, Arrival: arrivalOf(plan.Arrival), WarmUpPrompts: sweep.WarmUpPrompts(l.prompts),
		},
		EnvExec: l.envExec,
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
	fmt.Fprintf(os.Stderr, "%s\n%d prompts; %s\nat most %d batches in flight, %d repeat(s); writing to %s\n\n",
		server, r.Source.Requests, r.Config.LoadText(), r.Config.MaxInFlight, r.Config.Repeats, out)
}
