package server

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "paceline/proto/paceline/v1"
	"paceline/sglang"
)

// longestFlush bounds how long a flush may wait for running work.
const longestFlush = time.Hour

// adminService implements AdminService.
type adminService struct {
	pb.UnimplementedAdminServiceServer

	version   string
	started   time.Time
	pool      *pool
	readiness *readiness
	delay     time.Duration // Config.DrainDelay
}

// GetStatus implements AdminServiceServer.
func (a *adminService) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	v := a.readiness.now()
	out := &pb.GetStatusResponse{
		Version:        a.version,
		StartTime:      timestamppb.New(a.started),
		Ready:          v.ready,
		NotReadyReason: v.reason,
		Draining:       v.draining,
		Settings:       settingsMessage(a.pool.current()),
		Batcher:        batcherStatus(a.pool.stats()),
		RecentBatches:  a.recent(),
	}
	if b := a.pool.first(); b != nil {
		out.Upstream = b.status()
	}
	if all := a.pool.all(); len(all) > 1 {
		for _, b := range all {
			out.Backends = append(out.Backends, &pb.Backend{Upstream: b.status(), Batcher: batcherStatus(b.batcher.Stats())})
		}
	}
	return out, nil
}

// GetSettings implements AdminServiceServer.
func (a *adminService) GetSettings(context.Context, *pb.GetSettingsRequest) (*pb.GetSettingsResponse, error) {
	return &pb.GetSettingsResponse{Settings: settingsMessage(a.pool.current())}, nil
}

// UpdateSettings implements AdminServiceServer.
func (a *adminService) UpdateSettings(_ context.Context, req *pb.UpdateSettingsRequest) (*pb.UpdateSettingsResponse, error) {
	if err := a.pool.update(req.GetSettings(), req.GetUpdateMask().GetPaths()); err != nil {
		return nil, statusOf(err).Err()
	}
	return &pb.UpdateSettingsResponse{Settings: settingsMessage(a.pool.current())}, nil
}

// FlushCache implements AdminServiceServer.
func (a *adminService) FlushCache(ctx context.Context, req *pb.FlushCacheRequest) (*pb.FlushCacheResponse, error) {
	timeout := req.GetTimeout().AsDuration()
	if req.GetTimeout() != nil && !req.GetTimeout().IsValid() || timeout < 0 || timeout > longestFlush {
		return nil, statusOf(wrongField("timeout", "must be from 0s to %v", longestFlush)).Err()
	}
	err := a.flush(ctx, timeout)
	var e *sglang.Error
	switch {
	case err == nil:
		return &pb.FlushCacheResponse{}, nil
	case errors.As(err, &e) && e.Kind == sglang.KindBusy:
		return nil, status.Error(codes.FailedPrecondition, "SGLang is still working and does not flush")
	}
	return nil, statusOf(err).Err()
}

// flush empties the cache of every SGLang, and returns the first error.
func (a *adminService) flush(ctx context.Context, timeout time.Duration) error {
	all := a.pool.all()
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, b := range all {
		wg.Go(func() {
			if errs[i] = b.client.FlushCache(ctx, timeout); errs[i] == nil {
				b.batcher.Forget()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Drain implements AdminServiceServer.
func (a *adminService) Drain(ctx context.Context, _ *pb.DrainRequest) (*pb.DrainResponse, error) {
	wait, err := a.readiness.drain(ctx, a.delay, a.pool.beginDrain)
	if err == nil {
		err = wait(ctx)
	}
	if err != nil {
		return nil, statusOf(err).Err()
	}
	return &pb.DrainResponse{}, nil
}

// Undrain implements AdminServiceServer.
func (a *adminService) Undrain(context.Context, *pb.UndrainRequest) (*pb.UndrainResponse, error) {
	if !a.readiness.resume(a.pool.resume) {
		return nil, status.Error(codes.FailedPrecondition, "the process is stopping")
	}
	return &pb.UndrainResponse{}, nil
}
