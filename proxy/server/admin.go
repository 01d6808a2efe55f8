package server

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "paceline/proto/paceline/v1"
	"paceline/proxy/api"
	"paceline/proxy/upstream"
	"paceline/sglang"
)

// maxFlush is the max time that a flush may wait for running work.
const maxFlush = time.Hour

// adminService implements AdminService.
type adminService struct {
	pb.UnimplementedAdminServiceServer

	version   string
	started   time.Time
	up        *upstream.Upstream
	settings  *liveSettings
	readiness *readiness
	delay     time.Duration // Config.DrainDelay
	acts      *slog.Logger
}

// log logs an administrative act of a caller, who is named by its key, or else its host.
func (a *adminService) log(ctx context.Context, act string, args ...any) {
	a.acts.Info(act, append([]any{"by", upstream.CallerOf(ctx, api.HostOf(ctx)).Name}, args...)...)
}

// GetStatus implements AdminServiceServer.
func (a *adminService) GetStatus(context.Context, *pb.GetStatusRequest) (*pb.GetStatusResponse, error) {
	v := a.readiness.now()
	return &pb.GetStatusResponse{
		Version:        a.version,
		StartTime:      timestamppb.New(a.started),
		Ready:          v.ready,
		NotReadyReason: v.reason,
		Draining:       v.draining,
		Settings:       settingsMessage(a.up.Queue.Settings()),
		Batcher:        batcherStatus(a.up.Queue.Stats()),
		RecentBatches:  a.recent(),
		Upstream:       upstreamStatus(a.up),
	}, nil
}

// GetSettings implements AdminServiceServer.
func (a *adminService) GetSettings(context.Context, *pb.GetSettingsRequest) (*pb.GetSettingsResponse, error) {
	return &pb.GetSettingsResponse{Settings: settingsMessage(a.up.Queue.Settings())}, nil
}

// UpdateSettings implements AdminServiceServer.
func (a *adminService) UpdateSettings(ctx context.Context, req *pb.UpdateSettingsRequest) (*pb.UpdateSettingsResponse, error) {
	changes, err := a.settings.update(req.GetSettings(), req.GetUpdateMask().GetPaths(), nil)
	if err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	a.log(ctx, "settings changed", "changed", changes)
	return &pb.UpdateSettingsResponse{Settings: settingsMessage(a.up.Queue.Settings())}, nil
}

// FlushCache implements AdminServiceServer.
func (a *adminService) FlushCache(ctx context.Context, req *pb.FlushCacheRequest) (*pb.FlushCacheResponse, error) {
	timeout := req.GetTimeout().AsDuration()
	if req.GetTimeout() != nil && !req.GetTimeout().IsValid() || timeout < 0 || timeout > maxFlush {
		return nil, upstream.ToStatus(upstream.WrongField("timeout", "must be from 0s to %v", maxFlush)).Err()
	}
	err := a.up.Flush(ctx, timeout)
	if err == nil {
		a.log(ctx, "SGLang's cache flushed")
		return &pb.FlushCacheResponse{}, nil
	}
	a.log(ctx, "SGLang's cache not flushed", "error", err)
	if e := new(sglang.Error); errors.As(err, &e) && e.Kind == sglang.KindBusy {
		return nil, status.Error(codes.FailedPrecondition, "SGLang is still working and does not flush")
	}
	return nil, upstream.ToStatus(err).Err()
}

// Drain implements AdminServiceServer.
func (a *adminService) Drain(ctx context.Context, _ *pb.DrainRequest) (*pb.DrainResponse, error) {
	a.log(ctx, "drain", "was_draining", a.readiness.now().draining, "pending", a.up.Queue.Pending())
	wait, err := a.readiness.drain(ctx, a.delay)
	if err == nil {
		err = wait(ctx)
	}
	if err != nil {
		return nil, upstream.ToStatus(err).Err()
	}
	return &pb.DrainResponse{}, nil
}

// Undrain implements AdminServiceServer.
func (a *adminService) Undrain(ctx context.Context, _ *pb.UndrainRequest) (*pb.UndrainResponse, error) {
	was := a.readiness.now().draining
	if !a.readiness.resume() {
		return nil, status.Error(codes.FailedPrecondition, "the process is stopping")
	}
	a.log(ctx, "undrain", "was_draining", was)
	return &pb.UndrainResponse{}, nil
}
