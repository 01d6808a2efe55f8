package api

import (
	"context"
	"net"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

type pipeAddr struct{}

func (pipeAddr) Network() string { return "bufconn" }
func (pipeAddr) String() string  { return "bufconn" }

func TestACallerIsTheHostOfItsPeer(t *testing.T) {
	from := func(addr net.Addr, forwarded ...string) context.Context {
		ctx := peer.NewContext(t.Context(), &peer.Peer{Addr: addr})
		for _, f := range forwarded {
			ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("x-forwarded-for", f))
		}
		return ctx
	}
	tcp := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 4711}
	for _, c := range []struct {
		what string
		ctx  context.Context
		want string
	}{
		{"a gRPC client", from(tcp), "10.0.0.7"},
		{"a gRPC client over IPv6", from(&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 4711}), "fe80::1%eth0"},
		{"a gRPC client on a Unix socket", from(&net.UnixAddr{Name: "/run/a", Net: "unix"}), "/run/a"},
		{"a gRPC client that claims another address", from(tcp, "1.2.3.4"), "10.0.0.7"},
		{"REST", from(pipeAddr{}, "10.0.0.8"), "10.0.0.8"},
		{"REST behind a header of the client's own", from(pipeAddr{}, "1.2.3.4, 10.0.0.8"), "10.0.0.8"},
		{"nobody known", t.Context(), ""},
	} {
		if got := HostOf(c.ctx); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
}
