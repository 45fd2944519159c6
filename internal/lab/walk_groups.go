// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"net/url"
	"strings"
)

// The part about security groups, in standard: an instance in a group of its own.
const (
	outsider      = "vm04"
	outsiderGroup = "outsiders"
)

// checkGroups holds that the default group admits its members only, that a rule lets others in, and that its removal shuts
// them out again.
func (w *walk) checkGroups(ctx context.Context) error {
	if err := w.dropOutsider(ctx); err != nil {
		return err
	}
	if _, err := w.openstack(ctx, "security", "group", "create", outsiderGroup); err != nil {
		return err
	}
	if err := w.boot(ctx, AddOptions{Name: outsider, Network: walkNetwork, Node: w.host, SecurityGroups: []string{outsiderGroup}}); err != nil {
		return err
	}
	to := walkAddresses["vm01"]
	w.noPing(ctx, outsider, to, "%s, which is not in vm01's group, does not reach it", outsider)
	id, err := w.openstack(ctx, "security", "group", "rule", "create", "--protocol", "icmp", "--remote-group", outsiderGroup, "default", "-f", "value", "-c", "id")
	if err != nil {
		return err
	}
	w.pingUntil(ctx, outsider, to, "a rule that admits ICMP from that group lets it in")
	if _, err := w.openstack(ctx, "security", "group", "rule", "delete", strings.TrimSpace(id)); err != nil {
		return err
	}
	err = until(ctx, settleWithin, "the rule has ended", func(ctx context.Context) error {
		if _, err := w.l.ping(ctx, outsider, to); err == nil {
			return errors.New("it is still answered")
		}
		return nil
	})
	w.hold(err, "without the rule it is shut out again")
	w.print("\n$ nagare lab instance rm %s\n$ openstack security group delete %s\n", outsider, outsiderGroup)
	return w.dropOutsider(ctx)
}

// dropOutsider removes the instance and its group, also those of a run that did not come to its end.
func (w *walk) dropOutsider(ctx context.Context) error {
	if err := w.forget(ctx, outsider); err != nil {
		return err
	}
	// Of a run that was interrupted: a port without instance would hold the group.
	ports, err := list[apiPort](ctx, w.demo, "ports", url.Values{"name": {outsider}})
	if err != nil {
		return err
	}
	for _, p := range ports {
		if err := w.demo.deletePort(ctx, p.ID); err != nil {
			return err
		}
	}
	group, err := one[apiGroup](ctx, w.demo, "security-groups", outsiderGroup)
	if err != nil || group == nil {
		return err
	}
	_, err = w.demo.client.Delete(ctx, w.demo.client.ServiceURL("security-groups", group.ID), nil)
	if err != nil {
		return describe("delete security group "+outsiderGroup, err)
	}
	return nil
}

// noPing is the statement that an instance gets no answer.
func (w *walk) noPing(ctx context.Context, from, to, format string, args ...any) {
	_, err := w.on(ctx, from, "ping", "-c", "3", "-i", "0.2", "-W", "1", to)
	if err == nil {
		err = errors.New("it was answered")
	} else {
		err = nil
	}
	w.hold(err, format, args...)
}

// pingUntil is the statement that an instance gets an answer once a change has reached the switches.
func (w *walk) pingUntil(ctx context.Context, from, to, text string) {
	err := until(ctx, settleWithin, from+" reaches "+to, func(ctx context.Context) error {
		_, err := w.l.ping(ctx, from, to)
		return err
	})
	if err == nil {
		_, err = w.on(ctx, from, "ping", "-c", "3", "-i", "0.2", "-W", "2", to)
	}
	w.hold(err, "%s", text)
}

// ping sends one echo request from an instance and waits a second for its answer.
func (l *Lab) ping(ctx context.Context, from, to string) (string, error) {
	return run(ctx, nil, inNamespace(l.namespace(from), "ping", "-c", "1", "-W", "1", to)...)
}
