package telemetry

import (
	"context"
	"slices"
	"testing"

	"google.golang.org/grpc/metadata"
)

func TestWhatACallBringsIsReadInAnySpelling(t *testing.T) {
	ctx := metadata.NewIncomingContext(context.Background(), metadata.Pairs("Traceparent", "a", "traceparent", "b", "other", "c"))
	in := Incoming{Call: ctx}
	if got := in.Get("TraceParent"); got != "a" {
		t.Errorf("got %q, want the first", got)
	}
	if got := in.Get("none"); got != "" {
		t.Errorf("got %q of what is not there", got)
	}
	if keys := in.Keys(); len(keys) != 2 || !slices.Contains(keys, "other") {
		t.Errorf("keys %q", keys)
	}
	if in = (Incoming{Call: context.Background()}); in.Get("traceparent") != "" || len(in.Keys()) != 0 {
		t.Error("something outside of any call")
	}
}
