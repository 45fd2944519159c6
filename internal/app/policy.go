// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// loadPolicy puts the policy file in force. With a fault in it, what was in force stays.
func (s *Server) loadPolicy() error {
	if s.cfg.PolicyFile == "" {
		return nil
	}
	data, err := os.ReadFile(s.cfg.PolicyFile)
	if err != nil {
		return fmt.Errorf("policy-file: %w", err)
	}
	if err := s.api.SetPolicy(data); err != nil {
		return fmt.Errorf("policy-file %s: %w", s.cfg.PolicyFile, err)
	}
	return nil
}

// followPolicy reads the policy file again whenever the process gets SIGHUP.
func (s *Server) followPolicy(ctx context.Context) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if err := s.loadPolicy(); err != nil {
				s.log.Error("the policy is as it was", "err", err)
				continue
			}
			s.log.Info("policy read again", "file", s.cfg.PolicyFile)
		}
	}
}
