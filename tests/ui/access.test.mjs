// Logging in and out, what a user may not, alarms, a connection that is cut.
import assert from 'node:assert/strict';
import { api, login, visit, until, password } from './browser.mjs';

const setAlarm = (url, resource) => fetch(`${url}/mock/alarm`,
  { method: 'POST', body: JSON.stringify({ resource }) });

export const ACCESS = {
  'a wrong password is refused in words': async (broker) => {
    const view = await visit(broker);
    const { page } = view;
    view.expect(401);
    await login(broker, view, 'guest', 'wrong');
    await page.waitForSelector('.note.error');
    assert.match(await page.textContent('.note.error'), /user name or the password is wrong/);
    await page.fill('#password', password);
    await page.keyboard.press('Enter');
    await page.waitForSelector('.shell');
    assert.deepEqual(view.faults(), []);
    await view.context.close();
  },
  'a session is a cookie that scripts cannot see, and ends with it': async (broker) => {
    const view = await visit(broker);
    const { page } = view;
    await login(broker, view);
    await page.waitForSelector('.figures');
    const [cookie] = await view.context.cookies(`${broker.url}/api/`);
    assert.ok(cookie.httpOnly && cookie.sameSite === 'Strict');
    const kept = await page.evaluate(() => JSON.stringify(
        [document.cookie, { ...localStorage }, { ...sessionStorage }]));
    assert.ok(!kept.includes(cookie.value) && !kept.includes('password'), kept);
    await page.reload();
    await page.waitForSelector('.shell');
    await page.click('text=Log out');
    await page.waitForSelector('#password');
    await page.reload();
    await page.waitForSelector('#password');
    assert.deepEqual(view.faults(), []);
    await view.context.close();
  },
  'a request without the header of the pages changes nothing': async (broker) => {
    const view = await visit(broker);
    await login(broker, view);
    await view.page.waitForSelector('.shell');
    view.expect(403);
    const status = await view.page.evaluate(() => fetch('api/vhosts/forged',
        { method: 'PUT', body: '{}' }).then((r) => r.status));
    assert.equal(status, 403);
    await view.context.close();
  },
  'a session that ended asks for the login and stays where it was': async (broker) => {
    const view = await visit(broker);
    const { page } = view;
    await login(broker, view);
    await view.go('queues');
    await view.context.clearCookies();
    view.expect(401);
    await page.goto(`${broker.url}/#/vhosts`);
    await page.waitForSelector('#password');
    assert.match(await page.textContent('.note'), /session has ended/);
    await page.fill('#user', 'guest');
    await page.fill('#password', password);
    await page.keyboard.press('Enter');
    await page.waitForSelector('h1:has-text("Virtual hosts")');
    await view.context.close();
  },
  'an alarm is told in words': async ({ mock, browser, url }) => {
    const alarmed = mock ? url : process.env.LEVERET_UI_ALARMED;
    if (!alarmed) return 'no LEVERET_UI_ALARMED is given';
    if (mock) await setAlarm(url, 'memory');
    const view = await visit({ browser, url: alarmed });
    await login({ url: alarmed }, view);
    await view.go('users');
    await view.page.waitForSelector('.alarm-bar:visible');
    assert.match(await view.page.textContent('.alarm-bar'),
      /Memory alarm on .*: more than .* is in use, so publishers are blocked/);
    if (mock) await setAlarm(url, null);
    assert.deepEqual(view.faults(), []);
    await view.context.close();
  },
  'an alarm is told when it comes, on every page, until it goes': async (broker) => {
    if (!broker.mock) return 'a real broker has its alarm from the start';
    const view = await visit(broker);
    const { page } = view;
    const command = (resource) => setAlarm(broker.url, resource);
    await login(broker, view);
    await view.go('users');
    assert.equal(await page.isVisible('.alarm-bar'), false);
    await command('memory');
    await page.waitForSelector('.alarm-bar:visible');
    assert.match(await page.textContent('.alarm-bar'),
      /Memory alarm on .*: more than .* is in use, so publishers are blocked/);
    await page.click('.alarm-bar a');
    await page.waitForSelector('.sentences:has-text("publishers are blocked")');
    await command(null);
    await page.waitForSelector('.alarm-bar', { state: 'hidden' });
    assert.deepEqual(view.faults(), []);
    await view.context.close();
  },
  'the state of the connection is said, and the numbers can be stopped': async (broker) => {
    await api(broker.url, 'PUT', '/api/queues/%2F/ui.stopped', { durable: true, arguments: {} });
    const view = await visit(broker);
    const { page } = view;
    await login(broker, view);
    await page.waitForSelector('.live:has-text("Live")');
    await page.click('.live');
    await page.waitForSelector('.live:has-text("Paused")');
    await view.go('queues');
    await page.waitForSelector('.line a');
    await page.click('.live');
    await page.waitForSelector('.live:has-text("Live")');
    await view.context.setOffline(true);
    view.expect('\\d+');
    if (broker.mock) {
      await fetch(`${broker.url}/mock/cut`, { method: 'POST' });
      await page.waitForSelector('.live:has-text("Stale for")');
      await view.context.setOffline(false);
      await page.waitForSelector('.live:has-text("Live")');
    }
    await view.context.close();
  },
  'a user who may only look is told so in words': async (broker) => {
    if (!broker.mock) return 'only the made-up broker has this user';
    const view = await visit(broker);
    const { page } = view;
    view.expect(401, 403);
    await login(broker, view, 'viewer', 'viewer');
    await page.waitForSelector('.figures');
    await view.go('users', '.note.error');
    assert.match(await page.textContent('.note.error'), /Not administrator user.*Ask an administrator/s);
    await view.go('queues');
    await page.waitForSelector('.line a');
    await page.click('text=Declare a queue');
    await page.fill('dialog input', 'ui.refused');
    await page.click('dialog button[type=submit]');
    await page.waitForSelector('dialog .note.error');
    assert.match(await page.textContent('dialog .note.error'), /access refused for user 'viewer'/);
    assert.ok(await until('the dialog', () => page.isVisible('dialog[open]')));
    assert.deepEqual(view.faults(), []);
    await view.context.close();
  }
};
