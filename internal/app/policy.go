// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"nagare/internal/policy"
)

// loadPolicy puts the policy files in force. With a fault in one, what was in force stays.
func (s *Server) loadPolicy() error {
	files, err := s.policyFiles()
	if err != nil || files == nil {
		return err
	}
	if err := s.api.SetPolicy(files...); err != nil {
		return fmt.Errorf("policy: %w", err)
	}
	return nil
}

// policyFiles reads the policy file and then the files of the policy directories, in order of their names, so that the last counts. As
// with oslo.policy, hidden files are none, nor is what lies deeper. nil: nothing of that is configured.
func (s *Server) policyFiles() (files []policy.File, err error) {
	add := func(setting, name string) error {
		data, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%s: %w", setting, err)
		}
		files = append(files, policy.File{Name: name, Data: data})
		return nil
	}
	if s.cfg.PolicyFile != "" {
		if err := add("policy-file", s.cfg.PolicyFile); err != nil {
			return nil, err
		}
	}
	for _, dir := range s.cfg.PolicyDirs {
		entries, err := os.ReadDir(dir) // by name
		if err != nil {
			return nil, fmt.Errorf("policy-dir: %w", err)
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if strings.HasPrefix(e.Name(), ".") {
				continue
			}
			if st, err := os.Stat(name); err == nil && st.IsDir() { // through links too, as fragments may be mounted
				continue
			}
			if err := add("policy-dir", name); err != nil {
				return nil, err
			}
		}
	}
	if files == nil && len(s.cfg.PolicyDirs) > 0 {
		files = []policy.File{} // what was there may have gone
	}
	return files, nil
}

// followPolicy reads the policy files again whenever the process gets SIGHUP.
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
			s.log.Info("policy read again", "file", s.cfg.PolicyFile, "dirs", s.cfg.PolicyDirs)
		}
	}
}
