package api

import (
	"context"
	"net"
	"strings"

	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// hostOf is the host of the peer, whichever of its connections it uses: callers
// without a key are told apart by it.
func hostOf(ctx context.Context) string {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return ""
	}
	if p.Addr.Network() == "bufconn" { // our own gateway, which says for whom it asks
		return forwardedFor(ctx)
	}
	if tcp, ok := p.Addr.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap().String()
	}
	host, _, err := net.SplitHostPort(p.Addr.String())
	if err != nil {
		return p.Addr.String()
	}
	return host
}

// forwardedFor is the last address of X-Forwarded-For: the gateway adds that of
// its peer to whatever the peer sent.
func forwardedFor(ctx context.Context) string {
	all := metadata.ValueFromIncomingContext(ctx, "x-forwarded-for")
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}
