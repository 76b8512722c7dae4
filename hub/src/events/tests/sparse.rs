//! Key frames alone are looked at, of a camera that has one in ten seconds.

use super::*;

/// From one picture to the next; each tenth is a key frame.
const SLOW: Duration = Duration::from_secs(1);

/// What is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    All,
    KeyFrames,
}

impl Rig {
    /// The stream for so long, slowly; what is due is done in between.
    fn run_slowly(&mut self, time: Duration, look: Look, scene: Scene) {
        let end = self.now + time;
        while self.now < end {
            self.now += SLOW;
            self.machine.handle_timeout(self.now);
            self.take();
            let is_sync = self.next.is_multiple_of(GROUP);
            let unit = picture(self.next, is_sync, 100);
            self.next += 1;
            self.machine.handle_unit(unit, self.now);
            if is_sync || look == Look::All {
                let score = if scene == Scene::Moving { 5 } else { 0 };
                self.machine
                    .handle_sighting(sighting(scene, score), self.now);
            }
            self.take();
        }
    }
}

fn sparse() -> Rig {
    let mut rig = Rig::new(EventValues::default());
    rig.machine.handle_mode(Mode::KeyFramesOnly, rig.now);
    rig
}

#[test]
fn a_visit_is_one_event_and_has_its_beginning() {
    let mut rig = sparse();
    // The last look at nobody is at picture 50; whoever came behind it is seen at 60, and last at 120.
    rig.run_slowly(seconds(53), Look::KeyFrames, Scene::Still);
    rig.run_slowly(seconds(68), Look::KeyFrames, Scene::Moving);
    let last_motion = rig.now;
    rig.run_slowly(seconds(60), Look::KeyFrames, Scene::Still);
    let [told] = &rig.told[..] else {
        panic!("{:?}", rig.ends());
    };
    // The pre-roll before that look, from a key frame on.
    assert_eq!(told.units[0], 40);
    let want: Vec<u64> = (40..40 + told.units.len() as u64).collect();
    assert_eq!(told.units, want);
    // Two looks and a half behind the last motion.
    let over = last_motion + seconds(25);
    assert_eq!(told.end, Some((EndReason::MotionOver, over)));
    assert_eq!((told.kept, told.sent), (1, 1));
}

/// As where decoding all is tried again, and is too dear again.
#[test]
fn an_event_goes_on_where_key_frames_alone_are_looked_at_from_amid_it_on() {
    let mut rig = Rig::new(EventValues::default());
    rig.run_slowly(seconds(33), Look::All, Scene::Still);
    rig.run_slowly(seconds(2), Look::All, Scene::Moving);
    rig.machine.handle_mode(Mode::KeyFramesOnly, rig.now);
    // Until a key frame that is looked at.
    rig.run_slowly(seconds(36), Look::KeyFrames, Scene::Moving);
    assert_eq!(rig.ends(), [None::<EndReason>]);
    // Where all are looked at again, a post-roll is what the owner wants it to be.
    rig.machine.handle_mode(Mode::EveryPicture, rig.now);
    rig.run_slowly(seconds(1), Look::All, Scene::Moving);
    let last_motion = rig.now;
    rig.run_slowly(seconds(20), Look::All, Scene::Still);
    let over = last_motion + seconds(5);
    assert_eq!(rig.told.len(), 1);
    assert_eq!(rig.told[0].end, Some((EndReason::MotionOver, over)));
}

/// Between the looks nobody knows: what is looked for closely now has a post-roll to be seen in.
#[test]
fn an_event_does_not_end_by_being_looked_at_more_closely() {
    let mut rig = sparse();
    rig.run_slowly(seconds(60), Look::KeyFrames, Scene::Still);
    rig.run_slowly(seconds(10), Look::KeyFrames, Scene::Moving);
    rig.run_slowly(seconds(11), Look::KeyFrames, Scene::Still);
    rig.machine.handle_mode(Mode::EveryPicture, rig.now);
    let from = rig.now;
    rig.run_slowly(seconds(3), Look::All, Scene::Still);
    assert_eq!(rig.ends(), [None::<EndReason>]);
    rig.run_slowly(seconds(10), Look::All, Scene::Still);
    let over = from + seconds(5);
    assert_eq!(rig.told[0].end, Some((EndReason::MotionOver, over)));
}

#[test]
fn what_moves_in_one_picture_and_is_no_motion_yet_belongs_to_the_event() {
    let mut rig = sparse();
    // The last look at nobody is at picture 30. Who is seen at 40 is called motion at 50.
    rig.run_slowly(seconds(40), Look::KeyFrames, Scene::Still);
    for scene in [Scene::Still, Scene::Moving] {
        rig.now += SLOW;
        rig.machine
            .handle_unit(picture(rig.next, true, 100), rig.now);
        rig.machine.handle_sighting(sighting(scene, 5), rig.now);
        rig.next += 1;
        rig.run_slowly(seconds(9), Look::KeyFrames, Scene::Still);
    }
    assert_eq!(rig.told[0].units[0], 20);
}

#[test]
fn key_frames_that_are_close_leave_the_post_roll_as_it_is() {
    let mut rig = sparse();
    rig.run(seconds(10), Scene::Still);
    rig.run(seconds(1), Scene::Moving);
    let last_motion = rig.now;
    rig.run(seconds(10), Scene::Still);
    let over = last_motion + seconds(5);
    assert_eq!(rig.ends().len(), 1);
    assert_eq!(rig.told[0].end, Some((EndReason::MotionOver, over)));
}
