// Command way answers one Prefill and writes the coverage counters of exactly that call to
// GOCOVERDIR. TestTheWayOfAPromptIsShort builds it with -cover.
package main

import (
	"context"
	"fmt"
	"os"
	"runtime/coverage"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/server"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "way:", err) //nolint:errcheck // nowhere else to tell
		os.Exit(1)
	}
}

// run sends prompts through a proxy in front of the SGLang at url. The first initializes
// everything that is initialized once.
func run(url, dir string) error {
	cfg := server.DefaultConfig()
	cfg.Upstream.URL, cfg.Listen, cfg.HTTP, cfg.Admin, cfg.Metrics = url, "127.0.0.1:0", "", "", "127.0.0.1:0"
	cfg.Settings.MaxWait = 0
	proxy, err := server.New(cfg)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- proxy.Run(ctx) }()
	conn, err := grpc.NewClient(proxy.Addr(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		stop()
		return err
	}
	client := pb.NewPrefillServiceClient(conn)
	prefill := func() error {
		_, err := client.Prefill(ctx, &pb.PrefillRequest{TokenIds: make([]int32, 200), MaxNewTokens: 1})
		return err
	}
	for range 100 { // until it is ready
		if err = prefill(); err == nil {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if err != nil {
		stop()
		return err
	}
	time.Sleep(100 * time.Millisecond) // for work after the first answer
	if err = coverage.ClearCounters(); err == nil {
		err = prefill()
	}
	time.Sleep(100 * time.Millisecond)
	if err == nil {
		err = coverage.WriteCountersDir(dir)
	}
	if err == nil {
		err = coverage.WriteMetaDir(dir)
	}
	stop()
	<-ended
	return err
}
