package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// child is a process of the measurement.
type child struct {
	cmd  *exec.Cmd
	addr string // gRPC's, or the only one
	http string
}

// started are all processes so far: some would drain for longer than anybody waits.
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
		"-role", role, "-batch-size", strconv.Itoa(o.size), "-max-in-flight", strconv.Itoa(o.inFlight), "-max-wait", o.maxWait.String(), "-delay", o.delay.String(),
	}, more...)
	cmd := exec.CommandContext(ctx, exe, args...) //nolint:gosec // itself
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
	grpc, http, _ := strings.Cut(strings.TrimSpace(line), " ")
	return &child{cmd, grpc, http}, err
}

// startProxy starts an upstream and a proxy before it.
func startProxy(ctx context.Context, o options) (up, proxy *child, err error) {
	if up, err = start(ctx, o, "upstream"); err != nil {
		return nil, nil, err
	}
	proxy, err = start(ctx, o, "proxy", "-upstream", "http://"+up.addr, "-cpuprofile", o.profile)
	return up, proxy, err
}

// startBoth starts a bare gRPC server, and a proxy before an upstream.
func startBoth(ctx context.Context, o options) (echo, proxy *child, err error) {
	if echo, err = start(ctx, o, "echo"); err != nil {
		return nil, nil, err
	}
	_, proxy, err = startProxy(ctx, o)
	return echo, proxy, err
}

// end asks a proxy to end, and waits for it.
func (c *child) end() error {
	if err := c.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return c.cmd.Wait()
}

// resident is the process's resident memory in bytes, and how many descriptors it
// has open.
func (c *child) resident() (rss int64, descriptors int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", c.cmd.Process.Pid))
	if err != nil {
		return 0, 0, err
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	open, err2 := os.ReadDir(fmt.Sprintf("/proc/%d/fd", c.cmd.Process.Pid))
	return pages * int64(os.Getpagesize()), len(open), errors.Join(err, err2)
}

// printMemory has a proxy write to stderr what its memory is used for.
func (c *child) printMemory() error {
	defer time.Sleep(200 * time.Millisecond) // it has no way to say that it did
	return c.cmd.Process.Signal(syscall.SIGUSR1)
}

// cpu is the CPU time that the process has used.
func (c *child) cpu() (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	user, err := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every Linux of today
	return time.Duration(user+system) * tick, errors.Join(err, err2)
}
