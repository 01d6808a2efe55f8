package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// child is a process under measurement.
type child struct {
	cmd        *exec.Cmd
	addr, http string // addr is gRPC's, or the only one
}

// started has all processes so far, to kill them: some would drain for very long.
var started []*os.Process

func killStarted() {
	for _, p := range started {
		_ = p.Kill()
	}
}

// start starts a process of this program in a role. Its first line is its addresses.
func start(ctx context.Context, o options, role string, more ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	args := append([]string{
		"-role", role, "-batch-size", strconv.Itoa(o.size), "-max-in-flight", strconv.Itoa(o.inFlight),
		"-max-wait", o.maxWait.String(), "-delay", o.delay.String(),
	}, more...)
	cmd := exec.CommandContext(ctx, exe, args...) //nolint:gosec // this program
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), o.env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	started = append(started, cmd.Process)
	line, err := bufio.NewReader(out).ReadString('\n')
	c := &child{cmd: cmd}
	_, _ = fmt.Sscan(line, &c.addr, &c.http) // a proxy has both
	return c, err
}

// startProxy starts an upstream and a proxy in front of it.
func startProxy(ctx context.Context, o options) (up, proxy *child, err error) {
	if up, err = start(ctx, o, "upstream"); err != nil {
		return nil, nil, err
	}
	proxy, err = start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile)
	return up, proxy, err
}

// startBoth starts a bare gRPC server, and a proxy in front of an upstream.
func startBoth(ctx context.Context, o options) (echo, proxy *child, err error) {
	if echo, err = start(ctx, o, "echo"); err != nil {
		return nil, nil, err
	}
	_, proxy, err = startProxy(ctx, o)
	return echo, proxy, err
}

// stop asks a proxy to end and waits for it.
func (c *child) stop() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// resident returns the resident memory of the process in bytes.
func (c *child) resident() (int64, error) {
	proc, err := procfs.NewProc(c.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return int64(stat.ResidentMemory()), err
}

// cpu returns the CPU time that the process has used.
func (c *child) cpu() (time.Duration, error) {
	proc, err := procfs.NewProc(c.cmd.Process.Pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return time.Duration(stat.CPUTime() * float64(time.Second)), err
}
