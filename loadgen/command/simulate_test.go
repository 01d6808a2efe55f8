package command

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"paceline/sglang"
)

func TestTheSimulatorServesUntilItIsStopped(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- simulateCommand.run(ctx, "simulate", []string{"-listen", "127.0.0.1:0"}, nil, write) }()
	line, err := bufio.NewReader(read).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(line, "simulating SGLang at ")
	url, what, _ := strings.Cut(rest, ": ")
	if !strings.Contains(what, "(simulated)") {
		t.Errorf("it does not say what it is: %q", line)
	}
	client, err := sglang.NewClient(url, sglang.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdle()
	if err := client.Ready(ctx); err != nil {
		t.Error(err)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := client.Ready(t.Context()); err == nil {
		t.Error("it still serves")
	}
}

func TestWrongFlagsOfSimulateAreBadInput(t *testing.T) {
	for _, args := range []string{"extra", "-sim-profile none", "-sim-profile /none/such.json", "-listn x"} {
		var bad inputError
		if err := simulateCommand.run(t.Context(), "simulate", strings.Fields(args), nil, new(bytes.Buffer)); !errors.As(err, &bad) {
			t.Errorf("%s: %v", args, err)
		}
	}
	if err := simulateCommand.run(t.Context(), "simulate", []string{"-listen", "nonsense"}, nil, new(bytes.Buffer)); err == nil ||
		!strings.Contains(err.Error(), "-listen") {
		t.Errorf("-listen nonsense: %v", err)
	}
}
