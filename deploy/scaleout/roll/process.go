package main

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"syscall"

	"paceline/sglang/sim"
)

// process is a running proxy with its SGLang.
type process struct {
	addr      string
	simulator *sim.Server
	cmd       *exec.Cmd
	ended     chan struct{}
	err       error // of its end, once ended is closed
}

// terminate asks it to end, and waits until it has answered what it accepted.
func (p *process) terminate() error {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-p.ended
	if p.err != nil {
		return fmt.Errorf("the proxy at %s: %w", p.addr, p.err)
	}
	return p.simulator.Close()
}

// kill ends it at once, if it runs.
func (p *process) kill() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = p.cmd.Process.Kill() // it may have ended
		<-p.ended
	}
	_ = p.simulator.Close() // it may have been closed
}

// freeAddress finds a port where addr names none: a process can't tell which one it got.
func freeAddress(ctx context.Context, addr string) (string, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
